"""Suspicious by chance, one draw per arriving sample."""

import numpy as np

KIND = "inspector"
CARD = {
    "summary": "Suspicious with the probability given by the threshold, one draw per arriving sample.",
    "label": "Random",
    "threshold": "share",
    "draws": True,
}


def draw(threshold: float, rng: np.random.RandomState) -> bool:
    """A Bernoulli draw."""
    return bool(rng.binomial(1, threshold))
