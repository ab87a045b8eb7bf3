"""Trust the annotator always: nothing is suspicious, nothing is asked."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query

KIND = "inspector"
CARD = {
    "summary": "Trusts the annotator always: no question is asked; on clean labels, the upper bound.",
    "label": "No question",
    "threshold": "unused",
}


def score(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """−∞."""
    return float("-inf")
