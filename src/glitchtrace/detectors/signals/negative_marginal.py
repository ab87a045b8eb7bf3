"""Marginal influence in the orientation opposite to MI: −MI.

Source: docs/methods/signals.md#marginal-influence.
"""

import numpy as np

from glitchtrace.detectors.signals import marginal
from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "negative_MI",
    "label": "-MI",
    "summary": "Marginal influence in the orientation opposite to MI.",
    "target": "any",
    "settings": {
        "mi_orientation": {
            "description": "Which sign of marginal influence is suspicious.",
            "default": "positive",
            "enum": ["positive", "negative"],
        }
    },
}


def score(profiles: Profiles, mi_orientation: str = "positive") -> np.ndarray:
    """The negative of MI in the given orientation, (n,) float64."""
    return -marginal.score(profiles, mi_orientation)
