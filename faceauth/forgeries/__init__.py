"""Forgeries: fakes made from real crops alone, as material for training."""
