"""Empirical risk minimisation: the observed labels as they are."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.rdia.proposal import Problem, Proposal, hard, nobody

KIND = "relabelling"
CARD = {
    "label": "ERM",
    "summary": "Train on the observed labels as they are.",
    "settings": {},
}


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Keep every sample."""
    return hard(problem, problem.labels, relabel=nobody(problem), drop=nobody(problem))
