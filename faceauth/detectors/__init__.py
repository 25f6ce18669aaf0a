"""Detectors: what can be trained, how weights are found, how a detector is loaded and saved."""
