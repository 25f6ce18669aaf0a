"""What an address holds: upright pixels of images, frames of videos and rows of tables."""
