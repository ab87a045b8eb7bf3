"""Two convolutions and a hidden layer: the convolutional network of the CINCER experiments."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.initial_values import glorot
from glitchtrace.models.network import Network

KIND = "model"
CARD = {
    "summary": "Two convolutions, one pooling and a hidden layer: the network of the CINCER experiments.",
    "label": "convolutional network",
    "modalities": ["image"],
    "view": "pictures",
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
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of the initial values, the same in all runs.",
            "default": 42,
        },
    },
}
_SMALLEST = 10


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


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Convolutional:
    """The network for pictures of ``shape`` (C, H, W).  Raises GlitchtraceError for another or too small a shape."""
    if len(shape) != 3 or min(shape[1:]) < _SMALLEST:
        raise GlitchtraceError(
            f"model convnet takes pictures of at least {_SMALLEST} × {_SMALLEST} pixels, not samples of shape {shape}"
        )
    return Convolutional(shape, classes, settings["dropout"], settings["head_seed"])
