"""The ways to make a fake, one file each; see `faceauth.forgeries.forge` for what they are given."""
