"""Small pictures of faces for the page: only on request, and never from outside the folder of crops."""

import base64
import io
from pathlib import Path

from PIL import Image

THUMBNAIL_PX = 56
# A crop has a few hundred pixels a side. What is far larger is no crop, and would take long to decode.
_LARGEST_SIDE_PX = 4_096


def thumbnail(crops_root: Path, destination_path: str, *, side_px: int = THUMBNAIL_PX) -> str | None:
    """Returns a crop as a small JPEG.

    Args:
        crops_root: The manifest's folder.
        destination_path: Path of the crop below it.
        side_px: Longest side of the picture.

    Returns:
        The JPEG in base64, or None if there is no such image below the folder.
    """
    path = (crops_root / destination_path).resolve()
    if not destination_path or not path.is_relative_to(crops_root.resolve()) or not path.is_file():
        return None
    buffer = io.BytesIO()
    try:
        with Image.open(path) as image:
            if max(image.size) > _LARGEST_SIDE_PX:
                return None
            image.draft("RGB", (side_px * 2, side_px * 2))
            picture = image.convert("RGB")
        picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        picture.save(buffer, "JPEG", quality=72, optimize=True)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return base64.b64encode(buffer.getvalue()).decode("ascii")
