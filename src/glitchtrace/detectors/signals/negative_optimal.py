"""Largest negative influence on a class NIL_opt: − min_c Σ_{j ∈ V_c} min(J_ij, 0).

Source: docs/methods/signals.md#negative-influence-on-one-class.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "NIL_opt",
    "label": "NIL_opt",
    "summary": "Size of the negative influence on the class where it is largest.",
    "target": "mislabelled",
}


def score(profiles: Profiles) -> np.ndarray:
    """Largest size of the negative influence on a class, (n,) float64."""
    return np.abs(profiles.cumulative.negative[:, profiles.trained]).max(axis=1).astype(np.float64)
