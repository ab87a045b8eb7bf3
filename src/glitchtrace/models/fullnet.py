"""Two hidden layers with ReLU and dropout: the fully connected network of the CINCER experiments."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.initial_values import glorot
from glitchtrace.models.network import Network

KIND = "model"
CARD = {
    "summary": "Hidden layers with dropout: the fully connected network of the CINCER experiments.",
    "label": "fully connected network",
    "modalities": ["image", "table"],
    "view": "vector",
    # In the loop of CINCER: its own passes for dense networks, and where early stopping stops.
    "loop": {"dense": "plain", "stop_accuracy": 0.9},
    "settings": {
        "hidden": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "minItems": 1,
            "description": "Widths of the hidden layers.",
            "default": [64, 32],
        },
        "activation": {
            "enum": ["relu", "tanh"],
            "description": "Activation of the hidden layers.",
            "default": "relu",
        },
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


class FullyConnected(Network):
    """``features`` are the outputs of the last hidden layer."""

    def __init__(
        self, inputs: int, widths: Sequence[int], classes: int, activation: str, dropout: float, seed: int
    ) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(
            [nn.Linear(before, after) for before, after in pairwise([inputs, *widths])]
        )
        self.activation = nn.Tanh() if activation == "tanh" else nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], classes)
        glorot(self, seed)
        self.train_only(["hidden", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Outputs of the last hidden layer, shape (B, last width), of vectors (B, d)."""
        for layer in self.hidden:
            x = self.dropout(self.activation(layer(x)))
        return x


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> FullyConnected:
    """The network for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    if len(shape) != 1:
        raise GlitchtraceError(f"model fullnet takes vectors, not samples of shape {shape}")
    return FullyConnected(
        shape[0],
        settings["hidden"],
        classes,
        settings["activation"],
        settings["dropout"],
        settings["head_seed"],
    )
