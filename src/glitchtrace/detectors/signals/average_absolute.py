"""Average absolute influence AAI: (1/m) Σ_j |J_ij|.

Source: docs/methods/signals.md#absolute-influence.
"""

import numpy as np

from glitchtrace.detectors.signals import marginal_absolute
from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "AAI",
    "label": "AAI",
    "summary": "Average absolute influence on the validation samples; ranks as MAI does.",
    "target": "any",
}


def score(profiles: Profiles) -> np.ndarray:
    """Mean absolute influence, (n,) float64."""
    return marginal_absolute.score(profiles) / profiles.validation_counts.sum()
