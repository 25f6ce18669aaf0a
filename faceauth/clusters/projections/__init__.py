"""Ways from many dimensions to a plane, one file each."""
