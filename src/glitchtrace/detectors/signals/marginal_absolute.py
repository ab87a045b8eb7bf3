"""Marginal absolute influence MAI: Σ_j |J_ij|.

Source: docs/methods/signals.md#absolute-influence.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "MAI",
    "label": "MAI",
    "summary": "Marginal absolute influence: the sum of the sizes of a sample's influence.",
    "target": "any",
}


def score(profiles: Profiles) -> np.ndarray:
    """Sum of absolute influence, (n,) float64."""
    cumulative = profiles.cumulative
    return cumulative.positive.sum(axis=1, dtype=np.float64) - cumulative.negative.sum(
        axis=1, dtype=np.float64
    )
