"""Influence functions among near candidates."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.repair.cincer.influence_kernel import influence_scores
from glitchtrace.repair.cincer.query import Query
from glitchtrace.repair.cincer.ranking import Ranking, by_score

CARD = {
    "name": "nearest_if",
    "summary": "Influence functions among the candidates nearest to the suspicious sample.",
    "label": "Nearest IF",
    "settings": {
        "neighbours": {
            "type": "integer",
            "minimum": 1,
            "description": "Number of nearest candidates.",
            "default": 100,
        },
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
    """The nearest candidates by influence, then the others by distance."""
    places = np.argsort(query.distances, kind="stable")
    near, far = np.split(places, [settings["neighbours"]])
    inside = query.candidates[np.sort(near)]
    first = by_score(inside, influence_scores(query, inside, settings, rng))
    return Ranking(
        np.concatenate([first.order, query.candidates[far]]),
        np.concatenate([np.asarray(first.scores), np.full(len(far), -np.inf)]),
    )
