"""The work itself, restartable: batches, engines, the store of crops, remote outputs."""
