"""Squared length of the gradient at the annotator's label."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query

KIND = "inspector"
CARD = {
    "summary": "Squared length of the gradient of the log-probability of the annotator's label.",
    "label": "Fisher",
    "threshold": "above one",
}


def score(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """‖∇_θ log p(ỹ|x)‖²."""
    gradient = query.own_gradient()
    return float(gradient.dot(gradient)[0, 0])
