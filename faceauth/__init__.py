"""FaceAuth tells real faces from machine-made ones and names the generator behind a fake."""

__version__ = "0.1.0"
