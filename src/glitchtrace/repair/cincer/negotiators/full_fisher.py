"""The whole Fisher matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.repair.cincer.curvature import fisher_scores
from glitchtrace.repair.cincer.query import Query
from glitchtrace.repair.cincer.ranking import Ranking, by_score, signed
from glitchtrace.repair.cincer.sampling import fisher_sample

CARD = {
    "summary": "Fisher kernel of all layers with the whole Fisher matrix over the known samples.",
    "label": "Full Fisher",
    "settings": {
        "sign": {
            "enum": ["published", "contrastive"],
            "description": "Sign of the score: as published, or as the definition of a contrastive counter-example "
            "demands (the opposite).",
            "default": "published",
        },
        "damping": {
            "type": "number",
            "minimum": 0,
            "description": "λ added to the matrix; 0 takes the pseudo-inverse.",
            "default": 0.0,
        },
        "cutoff": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "Share of the largest eigenvalue below which the pseudo-inverse drops one.",
            "default": 1.0e-10,
        },
        "sample": {
            "type": ["integer", "null"],
            "minimum": 1,
            "description": "Known samples, drawn anew per question, that the Fisher matrix is made of; null takes all.",
            "default": None,
        },
    },
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
