"""Marginal positive influence MPI: Σ_j max(J_ij, 0).

Source: docs/methods/signals.md#absolute-influence.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "MPI",
    "label": "MPI",
    "summary": "Marginal positive influence: the sum of a sample's helpful influence.",
    "target": "any",
}


def score(profiles: Profiles) -> np.ndarray:
    """Sum of positive influence, (n,) float64."""
    return profiles.cumulative.positive.sum(axis=1, dtype=np.float64)
