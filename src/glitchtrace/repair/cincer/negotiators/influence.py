"""Influence functions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.repair.cincer.influence_kernel import influence_scores
from glitchtrace.repair.cincer.query import Query
from glitchtrace.repair.cincer.ranking import Ranking, by_score

CARD = {
    "name": "if",
    "summary": "Influence of a candidate on the probability of the annotator's label, by influence functions.",
    "label": "IF",
    "shares": "influence",
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By −∇p(ỹ_i|x_i)ᵀ H⁻¹ ∇ℓ(z_k), all layers."""
    return by_score(query.candidates, influence_scores(query, query.candidates, settings, rng))
