"""Settings that several methods of RDIA have; standard library only, as the cards are.

A card says which: ``threshold`` (it acts on D₋ = {Φ > α}) or ``subsample`` (it keeps a share of the samples).
"""

from collections.abc import Mapping
from typing import Any

THRESHOLD: dict[str, Any] = {
    "alpha": {
        "type": ["number", "null"],
        "minimum": 0,
        "description": (
            "Threshold α of the influence, in the learner's units: Φ > α is harmful; null: the one of `alphas` with "
            "the least validation loss after retraining."
        ),
        "default": None,
    },
    "alphas": {
        "type": "array",
        "minItems": 1,
        "items": {"type": "number", "minimum": 0},
        "description": "Thresholds to choose from where `alpha` is null.",
        "default": [0.01, 0.002, 0.0002],
    },
}
SUBSAMPLE: dict[str, Any] = {
    "ratio": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "Share of the samples to keep.",
        "default": 0.95,
    },
}


def common(card: Mapping[str, Any]) -> dict[str, Any]:
    """The shared settings of the method with this card."""
    return {**(THRESHOLD if card.get("threshold") else {}), **(SUBSAMPLE if card.get("subsample") else {})}
