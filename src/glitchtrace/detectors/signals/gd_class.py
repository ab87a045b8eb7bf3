"""GD-class: − min_c Σ_{j ∈ V_c} J_ij over the classes of the training set.

Source: docs/methods/signals.md#gd-class.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "GD_class",
    "label": "GD-class",
    "summary": "Harm to the class that a sample hurts most, positive and negative influence together.",
    "target": "mislabelled",
}


def score(profiles: Profiles) -> np.ndarray:
    """Negated influence on the class hurt most, (n,) float64."""
    cumulative = profiles.cumulative
    influence = cumulative.positive.astype(np.float64) + cumulative.negative
    return -influence[:, profiles.trained].min(axis=1)
