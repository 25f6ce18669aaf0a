"""Face detectors, one file each; see `faceauth.intake.faces` for what they return."""
