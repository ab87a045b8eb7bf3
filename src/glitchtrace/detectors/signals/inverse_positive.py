"""Inverse marginal positive influence 1/MPI, an ablation of PCID without its counterfactual part.

Source: docs/methods/signals.md#inverse-positive-influence.
"""

import numpy as np

from glitchtrace.detectors.signals import marginal_positive
from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "inverse_MPI",
    "label": "1/MPI",
    "summary": "Inverse of the marginal positive influence: PCID without its counterfactual part.",
    "target": "anomalous",
}


def score(profiles: Profiles) -> np.ndarray:
    """1 / MPI, (n,) float64; +inf, the most suspicious, where no influence is positive."""
    positive = marginal_positive.score(profiles)
    with np.errstate(over="ignore"):
        return np.divide(1.0, positive, out=np.full_like(positive, np.inf), where=positive > 0)
