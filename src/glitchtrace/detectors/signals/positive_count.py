"""#SLIP: the number of validation samples of the observed class with J_ij > 0.

Source: docs/methods/signals.md#counts.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "SLIP",
    "label": "#SLIP",
    "summary": "Number of validation samples of the own class that a sample helps.",
    "target": "any",
}


def score(profiles: Profiles) -> np.ndarray:
    """Count of helped samples of the own class, (n,) float64."""
    return profiles.of_own_class(profiles.cumulative.positive_count)
