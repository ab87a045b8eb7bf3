"""Multinomial logistic regression: a linear head on the standardised inputs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.network import Head

KIND = "model"
CARD = {
    "summary": "A linear head on the standardised inputs (multinomial logistic regression).",
    "modalities": ["image", "table"],
    "view": "vector",
    "settings": {
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of the head's initial values, the same in all runs.",
            "default": 42,
        },
    },
}


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
    """A head for vectors of ``shape`` (d,), with torch's default initial values drawn right after seeding.

    Raises GlitchtraceError for another shape.
    """
    if len(shape) != 1:
        raise GlitchtraceError(f"model linear takes vectors, not samples of shape {shape}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["head_seed"])
        return Head(nn.Linear(shape[0], classes))
