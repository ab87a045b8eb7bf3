"""Networks for vectors: linear heads, products of inputs, and hidden layers.

``linear`` and ``mlp`` start from torch's default values; ``logreg``, ``kernel_logreg`` and ``fullnet`` are those of the
CINCER experiments, which start from Glorot-uniform ones.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.network import Architecture, Head, Network, glorot

KIND = "model"
CARDS = {
    "linear": {
        "summary": "A linear head on the standardised inputs (multinomial logistic regression).",
        "modalities": ["image", "table"],
        "view": "vector",
        "trained": "head",
        "shares": "seeded",
    },
    "logreg": {
        "summary": "Softmax regression with Glorot-uniform initial values, as in the CINCER experiments.",
        "label": "logistic regression",
        "modalities": ["image", "table"],
        "view": "vector",
        "trained": "head",
        "shares": "seeded",
        # In the loop of CINCER: its own passes for dense networks, and where early stopping stops.
        "loop": {"dense": "plain", "stop_accuracy": 0.7},
    },
    "kernel_logreg": {
        "summary": "Softmax regression on the d² products of two inputs (quadratic kernel).",
        "label": "kernel logistic regression",
        "modalities": ["table"],
        "view": "vector",
        "trained": "head",
        "shares": "seeded",
        # In the loop of CINCER: its own passes for dense networks, and where early stopping stops.
        "loop": {"dense": "products", "stop_accuracy": 0.7},
    },
    "mlp": {
        "summary": "Hidden layers with ReLU and a linear head, all trained on the standardised inputs.",
        "modalities": ["image", "table"],
        "view": "vector",
        "trained": "dense",
        "shares": "seeded",
        "settings": {
            "hidden": {
                "type": "array",
                "items": {"type": "integer", "minimum": 1},
                "minItems": 1,
                "description": "Widths of the hidden layers.",
                "default": [128],
            },
        },
    },
    "fullnet": {
        "summary": "Hidden layers with dropout: the fully connected network of the CINCER experiments.",
        "label": "fully connected network",
        "modalities": ["image", "table"],
        "view": "vector",
        "trained": "dense",
        "shares": "seeded",
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
        },
    },
}


def build_linear(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
    """A head for vectors of ``shape`` (d,), with torch's default initial values drawn right after seeding.

    Raises GlitchtraceError for another shape.
    """
    if len(shape) != 1:
        raise GlitchtraceError(f"model linear takes vectors, not samples of shape {shape}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["head_seed"])
        return Head(nn.Linear(shape[0], classes))


def build_logreg(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
    """A head for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    if len(shape) != 1:
        raise GlitchtraceError(f"model logreg takes vectors, not samples of shape {shape}")
    head = nn.Linear(shape[0], classes)
    glorot(head, settings["head_seed"])
    return Head(head)


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


def build_kernel_logreg(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> ProductHead:
    """The model for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    if len(shape) != 1:
        raise GlitchtraceError(f"model kernel_logreg takes vectors, not samples of shape {shape}")
    return ProductHead(shape[0], classes, settings["head_seed"])


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


def build_mlp(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> MultilayerPerceptron:
    """The network for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    if len(shape) != 1:
        raise GlitchtraceError(f"model mlp takes vectors, not samples of shape {shape}")
    return MultilayerPerceptron(shape[0], settings["hidden"], classes, settings["head_seed"])


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


def build_fullnet(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> FullyConnected:
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


COMPONENTS = {
    "linear": Architecture(build_linear),
    "logreg": Architecture(build_logreg),
    "kernel_logreg": Architecture(build_kernel_logreg),
    "mlp": Architecture(build_mlp),
    "fullnet": Architecture(build_fullnet),
}
