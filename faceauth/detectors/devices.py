"""Devices that torch runs networks on."""

import torch

from faceauth.errors import UsageError


def best_device() -> str:
    """Returns `cuda` or `mps` where there is one, else `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device: str) -> None:
    """Makes sure that torch can use a device.

    Raises:
        UsageError: It cannot.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        # Torch's own message goes on for a page about backends.
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"The device '{device}' cannot be used: {reason}", "Use --device cpu.") from error
