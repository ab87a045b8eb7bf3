"""The whole Fisher matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.curvature import fisher_scores
from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score, signed
from glitchtrace.papers.cincer.sampling import fisher_sample

KIND = "negotiator"
CARD = {
    "summary": "Fisher kernel of all layers with the whole Fisher matrix over the known samples.",
    "label": "Full Fisher",
    "whole_fisher": True,
    "shares": ["sign", "fisher"],
    "defaults": {"sample": None},
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By g_iᵀ F⁻¹ g_k over all layers."""
    columns, weights = query.fisher_columns(fisher_sample(query, settings["sample"], rng))
    scores = fisher_scores(
        query.own_gradient(),
        query.gradients_of(query.candidates),
        columns,
        weights,
        damping=settings["damping"],
        cutoff=settings["cutoff"],
    )
    return by_score(query.candidates, signed(scores, settings["sign"]))
