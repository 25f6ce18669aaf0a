"""Faces in pixels: detectors, crops, and what crops look like."""
