"""Trust the annotator never: a question whenever the model disagrees."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query

KIND = "inspector"
CARD = {
    "summary": "Trusts the annotator never: asks whenever the model predicts another label.",
    "label": "Every disagreement",
    "threshold": "unused",
}


def score(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """+∞."""
    return float("inf")
