"""Class negative counterfactual influence CNCI: Σ_{j ∈ V_{y_i}} min(J⁻_ij, 0).

J⁻ is the influence of the sample under y⁻, the label of the class that it hurts most.  A mislabelled sample
fits the model once it has that label and hurts its former class little; a clean sample hurts its own class
strongly.  Scores are ≤ 0, and those near 0 are suspicious.  y⁻ is the proposed label.  Source:
docs/methods/signals.md#cnci.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "CNCI",
    "label": "CNCI",
    "summary": "Harm to the observed class once the sample carries the label of the class it hurts most.",
    "target": "mislabelled",
}


def score(profiles: Profiles) -> np.ndarray:
    """Negative influence on the observed class under the label y⁻, (n,) float64, ≤ 0."""
    return profiles.of_own_class(profiles.counterfactual_negative.negative)
