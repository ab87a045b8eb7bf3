"""Which samples to remove first, one module per method."""
