"""Candidates: squares that may hold a face, with which one stage of MTCNN hands over to the next."""

from dataclasses import dataclass

import numpy as np

from faceauth.intake.faces.mtcnn.boxes import overlap_pairs, survivors


@dataclass(frozen=True)
class Candidates:
    """Boxes of several images, the images ascending.

    Attributes:
        image: Index of the image of each, (n,) int64.
        boxes_xyxy: The boxes, (n, 4) float32 in pixels; they may leave the image.
        p_faces: Certainty, (n,) float32 in [0, 1].
        offsets: What else the network said, (n, ...) float32: of P-net and R-net how far each of four edges
            shall move; of O-net also five x and five y of landmarks.
    """

    image: np.ndarray
    boxes_xyxy: np.ndarray
    p_faces: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.image)

    def taken(self, which: np.ndarray) -> "Candidates":
        """Returns those that a mask or an array of indices names."""
        return Candidates(self.image[which], self.boxes_xyxy[which], self.p_faces[which], self.offsets[which])

    def by_certainty(self) -> "Candidates":
        """Returns the same, the most certain of each image first; equal ones keep their order."""
        return self.taken(np.lexsort((-self.p_faces, self.image)))

    def best_of_overlapping(self, threshold: float, *, of_smaller: bool = False) -> "Candidates":
        """Leaves out those that overlap a better one; see `overlap_pairs` for the arguments."""
        pairs = overlap_pairs(self.boxes_xyxy, self.image, threshold=threshold, of_smaller=of_smaller)
        return self.taken(survivors(self.p_faces, *pairs))


def p_from_logits(logits: np.ndarray) -> np.ndarray:
    """Turns float32 logits into certainties, float32 in [0, 1].

    Rounds as a softmax in float32 does. Many faces are certain to the last digit, and which of them are
    equally certain decides which are left.
    """
    smaller = np.exp(-np.abs(logits))
    return np.where(logits >= 0, np.float32(1), smaller) / (1 + smaller)
