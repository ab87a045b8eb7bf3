"""Margin of the model's label over the annotator's."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query

KIND = "inspector"
CARD = {
    "summary": "Probability of the model's label minus that of the annotator's; published with threshold 0.2.",
    "label": "Margin",
    "threshold": "inside the unit interval",
}


def score(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """p(ŷ|x) − p(ỹ|x), in [0, 1]."""
    return float(query.probabilities[query.predicted] - query.probabilities[query.annotated])
