"""Embeddings, their projections to a plane, and how well generators separate in them."""
