"""Explanations: where in a face a detector finds what speaks for fake, and how far to trust such a map."""
