"""Softmax regression with Glorot-uniform initial values, as in the CINCER experiments."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.initial_values import glorot
from glitchtrace.models.network import Head

KIND = "model"
CARD = {
    "summary": "Softmax regression with Glorot-uniform initial values, as in the CINCER experiments.",
    "label": "logistic regression",
    "modalities": ["image", "table"],
    "view": "vector",
    # In the loop of CINCER: its own passes for dense networks, and where early stopping stops.
    "loop": {"dense": "plain", "stop_accuracy": 0.7},
    "settings": {
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of the initial values, the same in all runs.",
            "default": 42,
        },
    },
}


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
    """A head for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    if len(shape) != 1:
        raise GlitchtraceError(f"model logreg takes vectors, not samples of shape {shape}")
    head = nn.Linear(shape[0], classes)
    glorot(head, settings["head_seed"])
    return Head(head)
