"""Scores, and what can be said of them: metrics, intervals, thresholds."""
