"""Means over rectangles of an image, exact and for all three channels at once, from one table of sums.

facenet-pytorch resizes with `interpolate(mode="area")`, which is adaptive average pooling: output i of n is
the mean of the pixels from floor(i * size / n) to ceil((i + 1) * size / n). A table of the sums above and
left of each pixel (summed-area table) gives every such mean from four look-ups. Red, green and blue share
one 64-bit number, 21 bits each. The table itself overflows, which does no harm: differences are right
modulo 2^64 as long as the sums that they stand for fit their bits.
"""

import math

import numpy as np

from faceauth.intake.faces.mtcnn.scratch import Scratch

FIELD_BITS = 21
# Sums of more pixels than these (8,224) do not fit into 21 bits.
MOST_PIXELS = (2**FIELD_BITS - 1) // 255
# Of images up to this size (1,056 px) every bin fits: the coarsest level has 12 rows or columns, and a bin
# reaches over at most two pixels more than its share.
LONGEST_SIDE_PX = 12 * (math.isqrt(MOST_PIXELS) - 2)
_FIELD = np.uint64(2**FIELD_BITS - 1)
_SHIFT = np.uint64(FIELD_BITS)
# Rows at a time that stay in the processor's cache.
_BLOCK_ROWS = 64


def sum_pixels(image_rgb_uint8: np.ndarray, sums: np.ndarray, scratch: Scratch) -> None:
    """Fills a table of sums.

    Args:
        image_rgb_uint8: Pixels, (height, width, 3) uint8.
        sums: What is filled, (height + 1, width + 1) uint64. `sums[y, x]` is the packed sum of all pixels
            above row y and left of column x, modulo 2^64.
        scratch: Memory to work in.
    """
    height, width = image_rgb_uint8.shape[:2]
    sums[0] = 0
    sums[:, 0] = 0
    packed = scratch.array("packed", (min(_BLOCK_ROWS, height), width), np.uint64)
    for start in range(0, height, _BLOCK_ROWS):
        pixels = image_rgb_uint8[start : start + _BLOCK_ROWS]
        rows = packed[: len(pixels)]
        np.copyto(rows, pixels[..., 2])
        for channel in (1, 0):
            rows <<= _SHIFT
            rows |= pixels[..., channel]
        end = start + len(pixels) + 1
        np.cumsum(rows, axis=1, out=sums[start + 1 : end, 1:])
        np.cumsum(sums[start:end], axis=0, out=sums[start:end])


def bin_edges(size: int, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the bins of adaptive average pooling begin and end, two int64 arrays of n_bins."""
    steps = np.arange(n_bins + 1, dtype=np.int64) * size
    return steps[:-1] // n_bins, -(-steps[1:] // n_bins)


def pool_image(
    sums: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    columns: tuple[np.ndarray, np.ndarray],
    out: np.ndarray,
    scratch: Scratch,
) -> None:
    """Resizes an image, or a part of it.

    Args:
        sums: The table of the image, (height + 1, width + 1) uint64.
        rows: First row of each bin and the row after its last, as from `bin_edges`. No bin may hold more than
            `MOST_PIXELS` pixels.
        columns: The same for columns.
        out: What is filled, (bins down, bins across, 3) float32, with means in [0, 255].
        scratch: Memory to work in.
    """
    shape = (len(rows[0]), sums.shape[1])
    strips = sums.take(rows[1], axis=0, out=scratch.array("strips", shape, np.uint64), mode="clip")
    strips -= sums.take(rows[0], axis=0, out=scratch.array("other", shape, np.uint64), mode="clip")
    shape = out.shape[:2]
    packed = strips.take(columns[1], axis=1, out=scratch.array("packed", shape, np.uint64), mode="clip")
    packed -= strips.take(columns[0], axis=1, out=scratch.array("other", shape, np.uint64), mode="clip")
    _unpack(packed, (rows[1] - rows[0])[:, None], columns[1] - columns[0], out, scratch)


def pool_boxes(
    flat_sums: np.ndarray,
    starts: np.ndarray,
    strides: np.ndarray,
    boxes_xyxy: np.ndarray,
    out: np.ndarray,
    scratch: Scratch,
) -> None:
    """Resizes rectangles of several images to squares of one size.

    Args:
        flat_sums: Tables of all images one after the other, uint64.
        starts: For each box where the table of its image starts, (n,) int64.
        strides: For each box the width of that table, (n,) int64.
        boxes_xyxy: First column and row, and the column and row after the last, (n, 4) int64, inside the
            image and not empty.
        out: What is filled, (n, side, side, 3) float32, with means in [0, 255].
        scratch: Memory to work in.
    """
    side = out.shape[1]
    steps = np.arange(side + 1, dtype=np.int64)
    sizes = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2])[:, :, None] * steps
    first = boxes_xyxy[:, :2, None] + sizes[:, :, :-1] // side
    end = boxes_xyxy[:, :2, None] - -sizes[:, :, 1:] // side
    columns = first[:, 0, None, :], end[:, 0, None, :]
    above, below = ((starts[:, None] + edge[:, 1] * strides[:, None])[:, :, None] for edge in (first, end))
    place = scratch.array("place", out.shape[:3], np.int64)
    packed = scratch.array("packed", out.shape[:3], np.uint64)
    other = scratch.array("other", out.shape[:3], np.uint64)
    flat_sums.take(np.add(below, columns[1], out=place), out=packed, mode="clip")
    packed -= flat_sums.take(np.add(below, columns[0], out=place), out=other, mode="clip")
    packed -= flat_sums.take(np.add(above, columns[1], out=place), out=other, mode="clip")
    packed += flat_sums.take(np.add(above, columns[0], out=place), out=other, mode="clip")
    spans = end - first
    _unpack(packed, spans[:, 1, :, None], spans[:, 0, None, :], out, scratch)


def _unpack(
    packed: np.ndarray, heights: np.ndarray, widths: np.ndarray, out: np.ndarray, scratch: Scratch
) -> None:
    # Divided twice, as torch does it, so that means are the same to the last digit.
    heights, widths = heights.astype(np.float32), widths.astype(np.float32)
    field = scratch.array("field", packed.shape, np.int64)
    means = scratch.array("means", packed.shape, np.float32)
    for channel in range(3):
        np.bitwise_and(packed, _FIELD, out=field.view(np.uint64))
        # Numbers with a sign become floats several times as fast.
        np.copyto(means, field, casting="unsafe")
        means /= heights
        means /= widths
        out[..., channel] = means
        packed >>= _SHIFT
