"""Engines of the preparation, one file each; see `faceauth.intake.pipeline.engine`."""
