"""What each command does, stage by stage; `faceauth.commands` only read the command line and calls these."""
