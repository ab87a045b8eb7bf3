"""The nearest candidate."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score

KIND = "negotiator"
CARD = {
    "summary": "The candidate nearest to the suspicious sample.",
    "label": "NN",
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By −‖x_i − x_k‖ on flattened inputs."""
    return by_score(query.candidates, -query.distances)
