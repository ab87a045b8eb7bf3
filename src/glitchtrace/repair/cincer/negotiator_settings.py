"""Settings that several negotiators have; standard library only, as the cards are.

A card names its group under ``shares`` and, under ``defaults``, the values in which it differs.
"""

from collections.abc import Mapping
from typing import Any

_SIGN: dict[str, Any] = {
    "sign": {
        "enum": ["published", "contrastive"],
        "description": "Sign of the score: as published, or as the definition of a contrastive counter-example "
        "demands (the opposite).",
        "default": "published",
    },
}
_FISHER: dict[str, Any] = {
    **_SIGN,
    "damping": {
        "type": "number",
        "minimum": 0,
        "description": "λ added to the matrix; 0 takes the pseudo-inverse.",
        "default": 0.0,
    },
    "cutoff": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "Share of the largest eigenvalue below which the pseudo-inverse drops one.",
        "default": 1.0e-10,
    },
    "sample": {
        "type": ["integer", "null"],
        "minimum": 1,
        "description": "Known samples, drawn anew per question, that the Fisher matrix is made of; null takes all.",
        "default": 30,
    },
}
_INFLUENCE: dict[str, Any] = {
    **_SIGN,
    "solver": {
        "enum": ["lissa", "cg", "exact"],
        "description": "How H⁻¹ is applied: LiSSA as published, conjugate gradients, or the whole matrix.",
        "default": "lissa",
    },
    "damping": {
        "type": "number",
        "minimum": 0,
        "description": "λ added to the Hessian.",
        "default": 0.0,
    },
    "depth": {
        "type": "integer",
        "minimum": 1,
        "description": "Steps of one LiSSA run.",
        "default": 1000,
    },
    "samples": {
        "type": "integer",
        "minimum": 1,
        "description": "Independent LiSSA runs, averaged.",
        "default": 1,
    },
    "draws": {
        "enum": ["known", "all"],
        "description": "What LiSSA draws from: the known samples, or, as published, all training samples.",
        "default": "known",
    },
}
_GROUPS = {"sign": _SIGN, "fisher": _FISHER, "influence": _INFLUENCE}


def common(card: Mapping[str, Any]) -> dict[str, Any]:
    """The shared settings of the negotiator with this card, with its own defaults."""
    defaults = card.get("defaults", {})
    return {
        key: {**fragment, "default": defaults.get(key, fragment["default"])}
        for key, fragment in _GROUPS.get(card.get("shares", ""), {}).items()
    }
