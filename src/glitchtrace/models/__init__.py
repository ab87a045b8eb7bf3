"""Networks, one module each, and the weights they start from."""
