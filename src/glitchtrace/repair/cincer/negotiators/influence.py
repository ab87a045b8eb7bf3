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
    "settings": {
        "sign": {
            "enum": ["published", "contrastive"],
            "description": "Sign of the score: as published, or as the definition of a contrastive counter-example "
            "demands (the opposite).",
            "default": "published",
        },
        "solver": {
            "enum": ["lissa", "cg", "exact"],
            "description": "How H⁻¹ is applied: LiSSA as published, conjugate gradients, or the whole matrix.",
            "default": "lissa",
        },
        "damping": {
            "type": "number",
            "minimum": 0,
            "description": "λ added to the Hessian.",
            "default": 0.0,
        },
        "depth": {
            "type": "integer",
            "minimum": 1,
            "description": "Steps of one LiSSA run.",
            "default": 1000,
        },
        "samples": {
            "type": "integer",
            "minimum": 1,
            "description": "Independent LiSSA runs, averaged.",
            "default": 1,
        },
        "draws": {
            "enum": ["known", "all"],
            "description": "What LiSSA draws from: the known samples, or, as published, all training samples.",
            "default": "known",
        },
    },
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By −∇p(ỹ_i|x_i)ᵀ H⁻¹ ∇ℓ(z_k), all layers."""
    return by_score(query.candidates, influence_scores(query, query.candidates, settings, rng))
