"""The six-convolution network of Suzuki, Kobayashi and Narihira (2021), with BatchNorm.

Three blocks of two 3 × 3 convolutions with 32, 64 and 128 channels; the first of each block is followed by
BatchNorm, both by ReLU, and the block by max pooling; then a linear head.  Of 32 × 32 pixels it has 307,370
parameters with one channel and 307,946 with three.  Source: docs/methods/sgd-influence.md#networks.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.convolution import convolve, max_pool
from glitchtrace.models.network import Network

KIND = "model"
CARD = {
    "summary": "Six convolutions 3 × 3 with BatchNorm and a linear head, all trained from random values.",
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

WIDTHS = (32, 64, 128)


class Block(nn.Module):
    """Convolution, BatchNorm, ReLU; convolution, ReLU; max pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, inputs, H, W) to (B, outputs, H // 2, W // 2); pooling before ReLU, which commute."""
        x = self.norm(convolve(self.first, x)).relu()
        return max_pool(convolve(self.second, x), 2).relu()


class SixConvCNN(Network):
    """``features`` are the flattened outputs of the last block."""

    def __init__(self, shape: tuple[int, ...], classes: int, seed: int) -> None:
        """Torch's default initial values, drawn right after seeding, in the order of the layers."""
        super().__init__()
        area = (shape[1] // 2 ** len(WIDTHS)) * (shape[2] // 2 ** len(WIDTHS))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.blocks = nn.ModuleList(
                Block(inputs, outputs) for inputs, outputs in pairwise((shape[0], *WIDTHS))
            )
            self.head = nn.Linear(WIDTHS[-1] * area, classes)
        self.train_only(["blocks", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Shape (B, 128·h·w), of pictures (B, C, 8·h, 8·w)."""
        for block in self.blocks:
            x = block(x)
        return x.flatten(1)


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> SixConvCNN:
    """The network for pictures of ``shape`` (C, H, W).  Raises GlitchtraceError for smaller ones than 8 × 8."""
    if len(shape) != 3 or min(shape[1:]) < 2 ** len(WIDTHS):
        raise GlitchtraceError(
            f"model six_conv_cnn takes pictures of at least 8 × 8 pixels, not samples of shape {shape}"
        )
    return SixConvCNN(shape, classes, settings["head_seed"])
