"""Verdicts: from pictures of any kind to what a detector says of each face."""
