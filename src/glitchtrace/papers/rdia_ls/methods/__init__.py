"""Ways to train on labels of which many are wrong, by name."""
