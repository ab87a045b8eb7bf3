"""The Fisher matrix without the blocks between tensors."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.curvature import block_scores
from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score, signed
from glitchtrace.papers.cincer.sampling import fisher_sample

KIND = "negotiator"
CARD = {
    "summary": "Fisher kernel of all layers with one block of the Fisher matrix per parameter tensor.",
    "label": "Block Fisher",
    "whole_fisher": True,
    "shares": ["sign", "fisher"],
    "defaults": {"damping": 0.01, "sample": None},
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By Σ_b g_ibᵀ (F_b + λI)⁻¹ g_kb, b over kernels and biases."""
    columns, weights = query.fisher_columns(fisher_sample(query, settings["sample"], rng))
    scores = block_scores(
        query.own_gradient(),
        query.gradients_of(query.candidates),
        columns,
        weights,
        damping=settings["damping"],
        cutoff=settings["cutoff"],
    )
    return by_score(query.candidates, signed(scores, settings["sign"]))
