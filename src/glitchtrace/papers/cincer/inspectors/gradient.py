"""Expected gradient length."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query

KIND = "inspector"
CARD = {
    "summary": "Expected squared length of the loss gradient under the model's own probabilities.",
    "label": "Expected gradient length",
    "threshold": "positive",
}


def score(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """Σ_c p(c|x) ‖∇_θ ℓ(x, c)‖²."""
    columns, weights = query.fisher_columns([query.example])
    return float(
        weights
        @ [columns.take(np.array([c])).dot(columns.take(np.array([c])))[0, 0] for c in range(len(weights))]
    )
