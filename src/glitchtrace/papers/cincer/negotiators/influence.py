"""Influence functions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.influence_kernel import influence_scores
from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score

KIND = "negotiator"
CARD = {
    "name": "if",
    "summary": "Influence of a candidate on the probability of the annotator's label, by influence functions.",
    "label": "IF",
    "shares": ["sign", "influence"],
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By −∇p(ỹ_i|x_i)ᵀ H⁻¹ ∇ℓ(z_k), all layers."""
    return by_score(query.candidates, influence_scores(query, query.candidates, settings, rng))
