"""All metrics, by what they judge: decisions, rankings, probabilities."""
