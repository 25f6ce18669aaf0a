"""The verbs of the command line: one thin function each, by what they are for."""
