"""Multilayer perceptron: hidden layers with ReLU on standardised inputs, all trained from random values."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.network import Network

KIND = "model"
CARD = {
    "summary": "Hidden layers with ReLU and a linear head, all trained on the standardised inputs.",
    "modalities": ["image", "table"],
    "view": "vector",
    "settings": {
        "hidden": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "minItems": 1,
            "description": "Widths of the hidden layers.",
            "default": [128],
        },
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of the initial values of head and hidden layers, the same in all runs.",
            "default": 42,
        },
    },
}


class MultilayerPerceptron(Network):
    """``features`` are the outputs of the last hidden layer."""

    def __init__(self, inputs: int, widths: Sequence[int], classes: int, seed: int) -> None:
        """Torch's default initial values, drawn right after seeding, the head's first."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Linear(widths[-1], classes)
            layers = [nn.Linear(before, after) for before, after in pairwise([inputs, *widths])]
        self.hidden = nn.ModuleList(layers)
        self.head = head
        self.train_only(["hidden", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Outputs of the last hidden layer, shape (B, last width), of vectors (B, d)."""
        for layer in self.hidden:
            x = layer(x).relu()
        return x


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> MultilayerPerceptron:
    """The network for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    if len(shape) != 1:
        raise GlitchtraceError(f"model mlp takes vectors, not samples of shape {shape}")
    return MultilayerPerceptron(shape[0], settings["hidden"], classes, settings["head_seed"])
