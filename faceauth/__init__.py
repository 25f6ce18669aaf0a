"""FaceAuth tells real faces from machine-made ones and names the generator behind a fake."""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # `from faceauth import load_detector` works, and `import faceauth` alone imports nothing heavy.
    if name == "load_detector":
        return importlib.import_module("faceauth.verdicts.library").load_detector
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
