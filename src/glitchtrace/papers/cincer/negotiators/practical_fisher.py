"""The identity in place of the Fisher matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score, signed

KIND = "negotiator"
CARD = {
    "summary": "Inner product of the gradients of all layers: the Fisher kernel with the identity for a matrix.",
    "label": "Practical Fisher",
    "shares": "sign",
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By g_i · g_k over all layers."""
    scores = query.own_gradient().dot(query.gradients_of(query.candidates))[0]
    return by_score(query.candidates, signed(scores, settings["sign"]))
