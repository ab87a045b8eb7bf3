"""MLP for tables: blocks of linear layer, ReLU and dropout, then the head."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from glitchtrace.models.rtdl import TabularNetwork, columns

KIND = "model"
CARD = {
    "summary": "The MLP of the study of tabular networks: linear layers with ReLU and dropout, and a linear head.",
    "modalities": ["table"],
    "view": "vector",
    "settings": {
        "blocks": {"type": "integer", "minimum": 1, "description": "Number of hidden layers.", "default": 2},
        "width": {
            "type": "integer",
            "minimum": 1,
            "description": "Width of the hidden layers.",
            "default": 384,
        },
        "dropout": {
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": 1,
            "description": "Dropout rate after each hidden layer.",
            "default": 0.1,
        },
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of all initial values, the same in all runs.",
            "default": 42,
        },
    },
}


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> TabularNetwork:
    """The network for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    from rtdl_revisiting_models import MLP

    def make() -> nn.Module:
        return MLP(
            d_in=columns(shape, "tabular_mlp"),
            d_out=classes,
            n_blocks=settings["blocks"],
            d_block=settings["width"],
            dropout=settings["dropout"],
        )

    return TabularNetwork(make, _take_head, settings["head_seed"])


def _take_head(body: nn.Module) -> nn.Linear:
    head = body.get_submodule("output")
    assert isinstance(head, nn.Linear)
    body.output = nn.Identity()
    return head
