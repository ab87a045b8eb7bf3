"""The convolutional network of the label-noise literature for 32 × 32 pictures ("9-layer CNN").

Six 3 × 3 convolutions with BatchNorm and ReLU, 2 × 2 max-pooling after each pair, a hidden layer of 256 with
BatchNorm and ReLU, and a linear head: eight layers with weights.  Source: docs/methods/rdia-ls.md#networks.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.network import Network

KIND = "model"
CARD = {
    "label": "nine-layer CNN",
    "summary": "Six convolutions in three pairs, a hidden layer and a linear head, trained from random values.",
    "modalities": ["image"],
    "view": "pictures",
    "settings": {
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of the initial values of all layers, the same in all runs.",
            "default": 42,
        },
    },
}

SIDE = 32
WIDTHS = (64, 64, 128, 128, 196, 196)
HIDDEN = 256


class NineLayerCNN(Network):
    """``features`` are the outputs of the hidden layer."""

    def __init__(self, channels: int, classes: int, seed: int) -> None:
        """Torch's default initial values, drawn right after seeding, the head's first."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Linear(HIDDEN, classes)
            layers: list[nn.Module] = []
            for place, (before, after) in enumerate(pairwise((channels, *WIDTHS))):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
                if place % 2:
                    layers.append(nn.MaxPool2d(2))
            flat = WIDTHS[-1] * (SIDE // 8) ** 2
            hidden = [nn.Linear(flat, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), *hidden).to(memory_format=torch.channels_last)
        self.head = head
        self.train_only(["body", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Outputs of the hidden layer, shape (B, 256), of pictures (B, C, 32, 32)."""
        outputs: Tensor = self.body(x)
        return outputs


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> NineLayerCNN:
    """The network for pictures of ``shape`` (C, 32, 32).  Raises GlitchtraceError for another shape."""
    if len(shape) != 3 or shape[1:] != (SIDE, SIDE):
        raise GlitchtraceError(
            f"model nine_layer_cnn takes pictures of {SIDE} × {SIDE}, not samples of shape {shape}"
        )
    return NineLayerCNN(shape[0], classes, settings["head_seed"])
