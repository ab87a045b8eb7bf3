"""#SLIN: the number of validation samples of the observed class with J_ij < 0.

Source: docs/methods/signals.md#counts.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "SLIN",
    "label": "#SLIN",
    "summary": "Number of validation samples of the own class that a sample hurts.",
    "target": "mislabelled",
}


def score(profiles: Profiles) -> np.ndarray:
    """Count of hurt samples of the own class, (n,) float64."""
    return profiles.of_own_class(profiles.cumulative.negative_count)
