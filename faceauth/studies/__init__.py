"""Many evaluations side by side: the cross-generator matrix, robustness, two detectors compared."""
