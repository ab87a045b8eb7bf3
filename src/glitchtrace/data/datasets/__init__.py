"""Base datasets, one module each."""
