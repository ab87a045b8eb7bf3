"""Self influence SI: s_i = Σ_t η_t ‖g_ti‖².

Source: docs/methods/signals.md#self-influence.
"""

import numpy as np

from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "SI",
    "label": "SI",
    "summary": "Self influence: how much training on a sample lowers its own loss.",
    "target": "any",
}


def score(profiles: Profiles) -> np.ndarray:
    """Self influence, (n,) float64."""
    return profiles.self_influence.astype(np.float64)
