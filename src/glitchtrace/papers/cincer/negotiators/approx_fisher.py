"""The diagonal of the Fisher matrix.

Published was the mean of 1/g², which is infinite as soon as one gradient has a zero; here the mean is inverted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.curvature import diagonal_scores
from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score, signed
from glitchtrace.papers.cincer.sampling import fisher_sample

KIND = "negotiator"
CARD = {
    "summary": "Fisher kernel of all layers with the diagonal of the Fisher matrix.",
    "label": "Diagonal Fisher",
    "whole_fisher": True,
    "shares": "sign",
    "settings": {
        "damping": {
            "type": "number",
            "minimum": 0,
            "description": "λ added to the diagonal; with 0, entries without curvature are left out.",
            "default": 0.01,
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
    """By Σ_m g_im g_km / (F_mm + λ)."""
    columns, weights = query.fisher_columns(fisher_sample(query, settings["sample"], rng))
    scores = diagonal_scores(
        query.own_gradient(),
        query.gradients_of(query.candidates),
        columns,
        weights,
        damping=settings["damping"],
    )
    return by_score(query.candidates, signed(scores, settings["sign"]))
