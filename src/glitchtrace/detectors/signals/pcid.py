"""Positive counterfactual influence difference PCID: 1 / (MPI_i · max_c |P_ic − P⁺_ic|).

P⁺ is the positive class table under y⁺, the class with the second largest P_ic.  An anomaly has little
positive influence, and another label hardly changes it.

Source: docs/methods/signals.md#pcid.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "PCID",
    "label": "PCID",
    "summary": "Inverse of the positive influence times its change under the second best label.",
    "target": "anomalous",
}


def score(profiles: Profiles) -> np.ndarray:
    """PCID, (n,) float64; +inf, the most suspicious, where the denominator is 0."""
    positive = profiles.cumulative.positive.astype(np.float64)
    change = np.abs(positive - profiles.counterfactual_positive.positive)[:, profiles.trained].max(axis=1)
    denominator = positive.sum(axis=1) * change
    with np.errstate(over="ignore"):
        return np.divide(1.0, denominator, out=np.full_like(denominator, np.inf), where=denominator > 0)
