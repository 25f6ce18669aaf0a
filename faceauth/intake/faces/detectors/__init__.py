"""Face detectors, one file each; see `faceauth.intake.faces.face` for what they return."""
