"""What each command does, stage by stage; `faceauth.cli` only reads the command line and calls these."""
