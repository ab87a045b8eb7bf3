"""RDIA: harmful samples are found by their influence on clean validation data, and relabelled."""
