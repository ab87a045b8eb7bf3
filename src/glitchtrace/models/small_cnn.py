"""The small convolutional network of Hara, Nitanda and Maehara (2019) for MNIST: 13,750 parameters.

Two convolutions 5 × 5 without padding, 20 channels each, both followed by ReLU and max pooling; a linear head
on the 320 values that are left of 28 × 28 pixels.  Pooling comes before ReLU: both commute, and a quarter of
the values is left for the second.  Source: docs/methods/sgd-influence.md#networks.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.convolution import convolve, max_pool
from glitchtrace.models.network import Network

KIND = "model"
CARD = {
    "summary": "Two convolutions 5 × 5 with 20 channels and a linear head, all trained from random values.",
    "modalities": ["image"],
    "view": "pictures",
    "settings": {
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of all initial values, the same in all runs.",
            "default": 42,
        },
    },
}

CHANNELS, KERNEL = 20, 5


class SmallCNN(Network):
    """``features`` are the flattened outputs of the second pooling."""

    def __init__(self, shape: tuple[int, ...], classes: int, seed: int) -> None:
        """Torch's default initial values, drawn right after seeding, in the order of the layers."""
        super().__init__()
        height, width = (_pooled(_pooled(side)) for side in shape[1:])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(shape[0], CHANNELS, KERNEL)
            self.second = nn.Conv2d(CHANNELS, CHANNELS, KERNEL)
            self.head = nn.Linear(CHANNELS * height * width, classes)
        self.train_only(["first", "second", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Shape (B, 20·h·w), of pictures (B, C, H, W); h = w = 4 for 28 × 28 pixels."""
        x = max_pool(convolve(self.first, x), 2).relu()
        x = max_pool(convolve(self.second, x), 2).relu()
        return x.flatten(1)


def _pooled(side: int) -> int:
    return (side - KERNEL + 1) // 2


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> SmallCNN:
    """The network for pictures of ``shape`` (C, H, W).  Raises GlitchtraceError for smaller ones than 16 × 16."""
    if len(shape) != 3 or min(_pooled(_pooled(side)) for side in shape[1:]) < 1:
        raise GlitchtraceError(
            f"model small_cnn takes pictures of at least 16 × 16 pixels, not samples of shape {shape}; "
            "set side in the protocol, or choose another model"
        )
    return SmallCNN(shape, classes, settings["head_seed"])
