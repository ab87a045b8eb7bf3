"""Convolutional networks for small pictures, all trained from random values.

``convnet`` is that of the CINCER experiments.  ``small_cnn`` (13,750 parameters on MNIST) and ``six_conv_cnn`` (307,370
with one channel of 32 × 32 pixels) are those of the studies of SGD-influence, docs/methods/sgd-influence.md#networks;
pooling comes before ReLU there: both commute, and a quarter of the values is left for the second.  ``nine_layer_cnn``
is that of the label-noise literature ("9-layer CNN"), docs/methods/rdia-ls.md#networks.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.convolution import convolve, max_pool
from glitchtrace.models.network import Architecture, Network, glorot

KIND = "model"
CARDS = {
    "convnet": {
        "summary": "Two convolutions, one pooling and a hidden layer: the network of the CINCER experiments.",
        "label": "convolutional network",
        "modalities": ["image"],
        "view": "pictures",
        "trained": "other",
        "shares": "seeded",
        # In the loop of CINCER: its own passes for dense networks, and where early stopping stops.
        "loop": {"dense": None, "stop_accuracy": 0.9},
        "settings": {
            "dropout": {
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "description": "Share of hidden units dropped in training.",
                "default": 0.2,
            },
        },
    },
    "small_cnn": {
        "summary": "Two convolutions 5 × 5 with 20 channels and a linear head, all trained from random values.",
        "modalities": ["image"],
        "view": "pictures",
        "trained": "other",
        "shares": "seeded",
    },
    "nine_layer_cnn": {
        "label": "nine-layer CNN",
        "summary": "Six convolutions in three pairs, a hidden layer and a linear head, trained from random values.",
        "modalities": ["image"],
        "view": "pictures",
        "trained": "other",
        "shares": "seeded",
    },
    "six_conv_cnn": {
        "summary": "Six convolutions 3 × 3 with BatchNorm and a linear head, all trained from random values.",
        "modalities": ["image"],
        "view": "pictures",
        "trained": "other",
        "shares": "seeded",
    },
}

_SMALLEST = 10  # pixels of a side for convnet
CHANNELS, KERNEL = 20, 5  # of small_cnn
SIDE, HIDDEN = 32, 256  # of nine_layer_cnn
NINE_WIDTHS = (64, 64, 128, 128, 196, 196)
SIX_WIDTHS = (32, 64, 128)


class Convolutional(Network):
    """Convolution 32, pooling, convolution 64, hidden layer 64; ``features`` are its outputs.

    The hidden layer takes the outputs of the second convolution with channels last, as the published network does.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, dropout: float, seed: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
        )
        rows, columns = ((side - 2) // 2 - 2 for side in (height, width))
        self.hidden = nn.Linear(64 * rows * columns, 64)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(64, classes)
        glorot(self, seed)
        self.train_only(["body", "hidden", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Outputs of the hidden layer, shape (B, 64), of pictures (B, C, H, W)."""
        flat = self.body(x).permute(0, 2, 3, 1).flatten(1)
        hidden: Tensor = self.dropout(self.activation(self.hidden(flat)))
        return hidden


def build_convnet(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Convolutional:
    """The network for pictures of ``shape`` (C, H, W).  Raises GlitchtraceError for another or too small a shape."""
    if len(shape) != 3 or min(shape[1:]) < _SMALLEST:
        raise GlitchtraceError(
            f"model convnet takes pictures of at least {_SMALLEST} × {_SMALLEST} pixels, not samples of shape {shape}"
        )
    return Convolutional(shape, classes, settings["dropout"], settings["head_seed"])


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


def build_small_cnn(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> SmallCNN:
    """The network for pictures of ``shape`` (C, H, W).  Raises GlitchtraceError for smaller ones than 16 × 16."""
    if len(shape) != 3 or min(_pooled(_pooled(side)) for side in shape[1:]) < 1:
        raise GlitchtraceError(
            f"model small_cnn takes pictures of at least 16 × 16 pixels, not samples of shape {shape}; "
            "set side in the protocol, or choose another model"
        )
    return SmallCNN(shape, classes, settings["head_seed"])


class NineLayerCNN(Network):
    """``features`` are the outputs of the hidden layer."""

    def __init__(self, channels: int, classes: int, seed: int) -> None:
        """Torch's default initial values, drawn right after seeding, the head's first."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Linear(HIDDEN, classes)
            layers: list[nn.Module] = []
            for place, (before, after) in enumerate(pairwise((channels, *NINE_WIDTHS))):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
                if place % 2:
                    layers.append(nn.MaxPool2d(2))
            flat = NINE_WIDTHS[-1] * (SIDE // 8) ** 2
            hidden = [nn.Linear(flat, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), *hidden).to(memory_format=torch.channels_last)
        self.head = head
        self.train_only(["body", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Outputs of the hidden layer, shape (B, 256), of pictures (B, C, 32, 32)."""
        outputs: Tensor = self.body(x)
        return outputs


def build_nine_layer_cnn(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> NineLayerCNN:
    """The network for pictures of ``shape`` (C, 32, 32).  Raises GlitchtraceError for another shape."""
    if len(shape) != 3 or shape[1:] != (SIDE, SIDE):
        raise GlitchtraceError(
            f"model nine_layer_cnn takes pictures of {SIDE} × {SIDE}, not samples of shape {shape}"
        )
    return NineLayerCNN(shape[0], classes, settings["head_seed"])


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
        area = (shape[1] // 2 ** len(SIX_WIDTHS)) * (shape[2] // 2 ** len(SIX_WIDTHS))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.blocks = nn.ModuleList(
                Block(inputs, outputs) for inputs, outputs in pairwise((shape[0], *SIX_WIDTHS))
            )
            self.head = nn.Linear(SIX_WIDTHS[-1] * area, classes)
        self.train_only(["blocks", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Shape (B, 128·h·w), of pictures (B, C, 8·h, 8·w)."""
        for block in self.blocks:
            x = block(x)
        return x.flatten(1)


def build_six_conv_cnn(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> SixConvCNN:
    """The network for pictures of ``shape`` (C, H, W).  Raises GlitchtraceError for smaller ones than 8 × 8."""
    if len(shape) != 3 or min(shape[1:]) < 2 ** len(SIX_WIDTHS):
        raise GlitchtraceError(
            f"model six_conv_cnn takes pictures of at least 8 × 8 pixels, not samples of shape {shape}"
        )
    return SixConvCNN(shape, classes, settings["head_seed"])


COMPONENTS = {
    "convnet": Architecture(build_convnet),
    "small_cnn": Architecture(build_small_cnn),
    "nine_layer_cnn": Architecture(build_nine_layer_cnn),
    "six_conv_cnn": Architecture(build_six_conv_cnn),
}
