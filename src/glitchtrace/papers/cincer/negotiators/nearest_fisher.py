"""Top Fisher among near candidates."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score
from glitchtrace.papers.cincer.top_kernel import top_scores

KIND = "negotiator"
CARD = {
    "summary": "Top Fisher among the candidates within a radius; the nearest one where there is none.",
    "label": "Nearest Fisher",
    "shares": ["sign", "fisher"],
    "settings": {
        "radius": {
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "Radius as a share of the largest distance between two samples.",
            "default": 0.25,
        },
        "diameter_of": {
            "enum": ["experiment", "training"],
            "description": "Samples whose largest distance counts: those of the run (known and stream), or, as "
            "published, the whole training part, which takes minutes for 60,000 pictures.",
            "default": "experiment",
        },
    },
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """Near candidates by top Fisher, then the others by distance."""
    radius = settings["radius"] * query.diameter(settings["diameter_of"])
    near = query.distances <= radius
    others = by_score(query.candidates[~near], -query.distances[~near])
    if not near.any():
        return others
    inside = query.candidates[near]
    first = by_score(inside, top_scores(query, inside, settings, rng))
    return Ranking(
        np.concatenate([first.order, others.order]),
        np.concatenate([np.asarray(first.scores), np.full(len(others.order), -np.inf)]),
    )
