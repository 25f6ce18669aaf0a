"""What a runtime has to offer: the three networks of MTCNN, with pixels as they are in images.

Scaling of pixels and the difference of the two logits are part of the weights given here, so that every
runtime computes the same.
"""

from typing import Protocol

import numpy as np

from faceauth.intake.faces.mtcnn.weights import Weights

# P-net looks at windows of this many pixels, two pixels apart.
WINDOW_PX = 12
STEP_PX = 2
# What is added where no pixel may count; large enough that the largest of four never takes it.
MASKED = np.float32(-1e9)


class Networks(Protocol):
    """The networks in one runtime."""

    @property
    def sizes_24(self) -> tuple[int, ...]:
        """How many crops R-net takes at once, largest first; memory and run time are bounded by these."""

    @property
    def sizes_48(self) -> tuple[int, ...]:
        """The same for O-net."""

    def propose(self, canvas_rgb_float32: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Runs P-net over a canvas.

        Args:
            canvas_rgb_float32: Pixels in [0, 255], (height, width, 3), both even.
            mask: 0 where the 3 x 3 pixels of the first layer lie in one picture, else `MASKED`; (height - 2,
                width - 2) float32.

        Returns:
            For each window its logit of being a face and the four offsets of the box, (height / 2 - 5,
            width / 2 - 5, 5) float32.
        """

    def refine(self, crops_rgb_float32: np.ndarray) -> np.ndarray:
        """Runs R-net on (n, 24, 24, 3) crops: logit and four offsets, (n, 5) float32."""

    def finish(self, crops_rgb_float32: np.ndarray) -> np.ndarray:
        """Runs O-net on (n, 48, 48, 3) crops: logit, four offsets, five x and five y, (n, 15) float32."""


def with_plain_pixels(weights: Weights) -> Weights:
    """Returns weights for pixels in [0, 255], with one layer `head` that gives logit, offsets and points.

    Args:
        weights: As from `faceauth.intake.faces.mtcnn.weights.read_weights`.

    Returns:
        All as convolutions: a dense layer over k x k cells becomes one with a kernel of k x k.
    """
    return {
        "pnet": _plain(weights["pnet"], layers=("conv1", "conv2", "conv3"), heads=("conv4_1", "conv4_2")),
        "rnet": _plain(
            weights["rnet"], layers=("conv1", "conv2", "conv3", "dense4"), heads=("dense5_1", "dense5_2")
        ),
        "onet": _plain(
            weights["onet"],
            layers=("conv1", "conv2", "conv3", "conv4", "dense5"),
            heads=("dense6_1", "dense6_2", "dense6_3"),
        ),
    }


def _plain(
    weights: dict[str, np.ndarray], *, layers: tuple[str, ...], heads: tuple[str, ...]
) -> dict[str, np.ndarray]:
    plain: dict[str, np.ndarray] = {}
    for number, layer in enumerate(layers, start=1):
        kernel, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        if layer.startswith("dense"):
            kernel = _over_cells(kernel, n_channels=plain[f"kernel{number - 1}"].shape[0])
        if number == 1:
            # The networks want (pixel - 127.5) / 128.
            bias = bias - kernel.sum(axis=(1, 2, 3), dtype=np.float64) * (127.5 / 128)
            kernel = kernel / 128
        plain[f"kernel{number}"] = np.ascontiguousarray(kernel, dtype=np.float32)
        plain[f"bias{number}"] = bias.astype(np.float32)
        plain[f"slope{number}"] = weights[
            f"{layer.replace('conv', 'prelu').replace('dense', 'prelu')}.weight"
        ]
    kernel = _joined([weights[f"{head}.weight"] for head in heads])
    plain["head_kernel"] = kernel.reshape(*kernel.shape[:2], 1, 1)
    plain["head_bias"] = _joined([weights[f"{head}.bias"] for head in heads])
    return plain


def _joined(heads: list[np.ndarray]) -> np.ndarray:
    # Of two logits only the difference matters: softmax over two is the sigmoid of it.
    return np.concatenate([heads[0][1:] - heads[0][:1], *heads[1:]])


def _over_cells(matrix: np.ndarray, *, n_channels: int) -> np.ndarray:
    # facenet-pytorch flattens (column, row, channel).
    side = round((matrix.shape[1] / n_channels) ** 0.5)
    return matrix.reshape(len(matrix), side, side, n_channels).transpose(0, 3, 2, 1)
