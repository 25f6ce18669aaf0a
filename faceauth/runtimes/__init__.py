"""Runtimes: what runs a detector's network when faces are judged, with or without torch."""
