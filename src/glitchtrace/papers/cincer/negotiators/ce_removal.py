"""The baseline that drops the counter-example."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score
from glitchtrace.papers.cincer.top_kernel import top_scores

KIND = "negotiator"
CARD = {
    "summary": "Chooses as top_fisher; drops the counter-example where the annotator confirms the suspicious label.",
    "label": "Drop CE",
    "drops": True,
    "shares": ["sign", "fisher"],
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """As ``top_fisher``."""
    return by_score(query.candidates, top_scores(query, query.candidates, settings, rng))
