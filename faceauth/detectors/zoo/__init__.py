"""The detectors, one file each; see `faceauth.detectors.architecture` for what a file returns."""
