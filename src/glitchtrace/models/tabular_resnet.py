"""ResNet for tables: residual blocks of two linear layers behind BatchNorm, then BatchNorm, ReLU and the head."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from glitchtrace.models.rtdl import TabularNetwork, columns, take_linear

KIND = "model"
CARD = {
    "summary": "The ResNet of the study of tabular networks: residual blocks of linear layers, and a linear head.",
    "modalities": ["table"],
    "view": "vector",
    "settings": {
        "blocks": {
            "type": "integer",
            "minimum": 1,
            "description": "Number of residual blocks.",
            "default": 2,
        },
        "width": {
            "type": "integer",
            "minimum": 1,
            "description": "Width between the blocks.",
            "default": 192,
        },
        "hidden_multiplier": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Width inside the blocks, as a multiple of `width`, rounded down.",
            "default": 2.0,
        },
        "hidden_dropout": {
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": 1,
            "description": "Dropout rate inside the blocks.",
            "default": 0.15,
        },
        "residual_dropout": {
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": 1,
            "description": "Dropout rate at the end of the blocks.",
            "default": 0.0,
        },
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of all initial values, the same in all runs.",
            "default": 42,
        },
    },
}


class TabularResnet(TabularNetwork):
    """BatchNorm over vectors needs two samples in a batch."""

    smallest_batch = 2


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> TabularResnet:
    """The network for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    from rtdl_revisiting_models import ResNet

    def make() -> nn.Module:
        return ResNet(
            d_in=columns(shape, "tabular_resnet"),
            d_out=classes,
            n_blocks=settings["blocks"],
            d_block=settings["width"],
            d_hidden_multiplier=settings["hidden_multiplier"],
            dropout1=settings["hidden_dropout"],
            dropout2=settings["residual_dropout"],
        )

    return TabularResnet(make, lambda body: take_linear(body.get_submodule("output")), settings["head_seed"])
