"""Data dropout: harmful samples are deleted.

Source: Wang, Huan, Li, Data dropout: optimizing training data for convolutional neural networks, 2018.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.rdia.proposal import Problem, Proposal, hard, harmful, nobody

KIND = "relabelling"
CARD = {
    "label": "dropping",
    "summary": "Delete the samples of harmful influence.",
    "shares": "threshold",
    "settings": {},
}


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Drop D₋.  Where all samples are harmful nothing is left, and the fit to nothing is θ = 0."""
    return hard(problem, problem.labels, relabel=nobody(problem), drop=harmful(problem, alpha))
