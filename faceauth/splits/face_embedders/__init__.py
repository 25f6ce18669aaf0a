"""Face embedders, one file each; see `faceauth.splits.people` for what they return."""
