"""Exports: the same detector in another file, for less room or for other programs."""
