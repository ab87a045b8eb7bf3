"""A random candidate."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking

KIND = "negotiator"
CARD = {
    "summary": "A candidate drawn at random.",
    "label": "Random",
    "unscored": True,
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """One draw; the other candidates follow in a drawn order where the whole order is wanted."""
    chosen = rng.choice(query.candidates)
    others = query.candidates[query.candidates != chosen]
    if query.whole_order:
        others = rng.permutation(others)
    return Ranking(np.concatenate([[chosen], others]))
