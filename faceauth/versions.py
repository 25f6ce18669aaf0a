"""Versions of what a result was made with."""

import importlib.metadata
import platform

# Face detection and videos do without the ones that may be missing, or say so.
MAY_BE_MISSING = ("openvino", "av")
PACKAGES = (
    "faceauth",
    "torch",
    "transformers",
    "accelerate",
    "facenet-pytorch",
    "openvino",
    "timm",
    "scikit-learn",
    "numpy",
    "pillow",
    "av",
)


def installed_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that decide a result."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name not in MAY_BE_MISSING:
                raise
    return versions
