"""Settings of the methods that walk over a recorded training; standard library only, as the cards are.

A card names its group under ``shares``.
"""

from collections.abc import Mapping
from typing import Any

_CREDITS: dict[str, Any] = {
    "batch_norm": {
        "enum": ["batch", "eval", "single"],
        "description": "Statistics behind the credits: those of the batch, the running ones, or, as "
        "published, those of each sample alone.",
        "default": "batch",
    },
}
_HESSIAN: dict[str, Any] = {
    **_CREDITS,
    "compat": {
        "type": "object",
        "additionalProperties": False,
        "description": "Switches that reproduce the published code.",
        "properties": {
            "divide_hessian_twice": {
                "type": "boolean",
                "description": "Divide the Hessian-vector product by the batch size once more.",
                "default": False,
            },
        },
    },
}
_GROUPS = {"credits": _CREDITS, "hessian": _HESSIAN}


def common(card: Mapping[str, Any]) -> Mapping[str, Any]:
    """The shared settings of the method with this card; none for a method that does not walk."""
    return _GROUPS.get(card.get("shares", ""), {})
