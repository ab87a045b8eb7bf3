"""Data: base datasets, splits, and the inputs of one training problem."""
