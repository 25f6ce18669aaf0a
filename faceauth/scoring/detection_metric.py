"""All metrics as one metric of the `evaluate` library, for a `Trainer` and other code that expects one.

It is made directly, `DetectionMetric()`, and never with `evaluate.load`: that would run a folder of the same
name in the current directory, or ask the network.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from faceauth.scoring.metrics import compute_metrics


class DetectionMetric(evaluate.Metric):
    """Measures `p_fake` against `target` (1 real, 0 fake) with everything in `METRICS`.

        DetectionMetric().compute(predictions=p_fake, references=target, threshold=0.5)

    Values are floats; None where undefined, such as an AUROC of one class only. It works in one process:
    gather the scores first.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Metrics of a detector of machine-made faces; fake is the positive class.",
            citation="",
            inputs_description="predictions: p_fake in [0, 1]. references: target, 1 real, 0 fake. "
            "threshold: a face is called fake if p_fake >= threshold.",
            # float32 would change the AUROC in the ninth digit and make ties.
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(
        self, *, predictions: Any, references: Any, threshold: float = 0.5
    ) -> dict[str, float | None]:
        return compute_metrics(np.asarray(references), np.asarray(predictions), threshold=threshold)
