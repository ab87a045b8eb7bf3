"""Softmax regression on all products of two inputs."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.initial_values import glorot
from glitchtrace.models.network import Network

KIND = "model"
CARD = {
    "summary": "Softmax regression on the d² products of two inputs (quadratic kernel).",
    "label": "kernel logistic regression",
    "modalities": ["table"],
    "view": "vector",
    # In the loop of CINCER: its own passes for dense networks, and where early stopping stops.
    "loop": {"dense": "products", "stop_accuracy": 0.7},
    "settings": {
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of the initial values, the same in all runs.",
            "default": 42,
        },
    },
}


class ProductHead(Network):
    """``features`` are all products x_a x_b."""

    frozen_features = True

    def __init__(self, inputs: int, classes: int, seed: int) -> None:
        super().__init__()
        self.head = nn.Linear(inputs * inputs, classes)
        glorot(self.head, seed)
        self.train_only(["head"])

    def features(self, x: Tensor) -> Tensor:
        """Products (B, d²), x_a x_b at a·d + b, of vectors (B, d)."""
        return (x[:, :, None] * x[:, None, :]).flatten(1)


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> ProductHead:
    """The model for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    if len(shape) != 1:
        raise GlitchtraceError(f"model kernel_logreg takes vectors, not samples of shape {shape}")
    return ProductHead(shape[0], classes, settings["head_seed"])
