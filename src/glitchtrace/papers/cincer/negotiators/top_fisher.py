"""The Fisher matrix of the last layer: CINCER's choice."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score
from glitchtrace.papers.cincer.top_kernel import top_scores

KIND = "negotiator"
CARD = {
    "summary": "Fisher kernel of the last dense layer: the choice of CINCER.",
    "label": "Top Fisher",
    "shares": ["sign", "fisher"],
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By a_iᵀ F⁻¹ a_k with a the gradients of the last layer."""
    return by_score(query.candidates, top_scores(query, query.candidates, settings, rng))
