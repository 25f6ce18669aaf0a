"""From photographs to face crops and a manifest: reading, finding, cropping, recording."""
