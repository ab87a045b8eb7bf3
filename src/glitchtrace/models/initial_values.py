"""Glorot-uniform kernels and zero biases: the initial values of the networks of the CINCER experiments."""

import torch
from torch import nn


def glorot(module: nn.Module, seed: int) -> None:
    """Set kernels to uniform values in ±√(6 / (fan in + fan out)) and biases to zero, drawn right after seeding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
