"""Negative influence on the own label NIL: − Σ_{j ∈ V_{y_i}} min(J_ij, 0).

Source: docs/methods/signals.md#negative-influence-on-one-class.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "NIL",
    "label": "NIL",
    "summary": "Size of the negative influence on the class of the observed label.",
    "target": "mislabelled",
}


def score(profiles: Profiles) -> np.ndarray:
    """Size of the negative influence on the own class, (n,) float64."""
    return np.abs(profiles.of_own_class(profiles.cumulative.negative))
