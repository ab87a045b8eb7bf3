"""Training, evaluation and checkpoints of networks."""
