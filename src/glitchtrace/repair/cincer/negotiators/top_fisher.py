"""The Fisher matrix of the last layer: CINCER's choice."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.repair.cincer.query import Query
from glitchtrace.repair.cincer.ranking import Ranking, by_score
from glitchtrace.repair.cincer.top_kernel import top_scores

CARD = {
    "summary": "Fisher kernel of the last dense layer: the choice of CINCER.",
    "label": "Top Fisher",
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
            "default": 30,
        },
    },
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By a_iᵀ F⁻¹ a_k with a the gradients of the last layer."""
    return by_score(query.candidates, top_scores(query, query.candidates, settings, rng))
