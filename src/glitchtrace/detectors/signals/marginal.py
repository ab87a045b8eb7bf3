"""Marginal influence MI: Σ_j J_ij, or its negative where harmful samples are to count as suspicious.

The code and the paper rank high positive sums as suspicious, the sources of the signal negative ones; both
columns are always scored.  Source: docs/methods/signals.md#marginal-influence.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "MI",
    "label": "MI",
    "summary": "Marginal influence: the sum of a sample's influence on the validation set.",
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
    """Marginal influence in the given orientation, (n,) float64."""
    tables = (profiles.cumulative.positive, profiles.cumulative.negative)
    positive, negative = (table.sum(axis=1, dtype=np.float64) for table in tables)
    marginal = positive + negative
    return marginal if mi_orientation == "positive" else -marginal
