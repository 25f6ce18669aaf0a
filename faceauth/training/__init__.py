"""The parts of the training loop in faceauth/train.py."""
