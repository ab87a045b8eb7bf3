"""Influence functions among near candidates."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.influence_kernel import influence_scores
from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score

KIND = "negotiator"
CARD = {
    "name": "nearest_if",
    "summary": "Influence functions among the candidates nearest to the suspicious sample.",
    "label": "Nearest IF",
    "shares": ["sign", "influence"],
    "settings": {
        "neighbours": {
            "type": "integer",
            "minimum": 1,
            "description": "Number of nearest candidates.",
            "default": 100,
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
