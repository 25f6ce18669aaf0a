"""Versions of what a result was made with."""

import importlib.metadata
import platform

PACKAGES = (
    "faceauth",
    "torch",
    "transformers",
    "accelerate",
    "facenet-pytorch",
    "timm",
    "scikit-learn",
    "numpy",
    "pillow",
)


def installed_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in PACKAGES
    }
