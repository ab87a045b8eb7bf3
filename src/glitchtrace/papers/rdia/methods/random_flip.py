"""As many labels changed as RDIA changes, at random: what choosing by influence is worth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.rdia.proposal import Problem, Proposal, hard, harmful, nobody

KIND = "relabelling"
CARD = {
    "label": "random relabelling",
    "summary": "Give a random other label to as many samples, drawn uniformly, as have harmful influence.",
    "shares": "threshold",
    "settings": {},
}


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Relabel |D₋| samples, drawn without replacement; the new label is uniform among the others."""
    relabel = nobody(problem)
    relabel[rng.choice(len(problem), int(harmful(problem, alpha).sum()), replace=False)] = True
    shifts = rng.integers(1, problem.regression.classes, size=len(problem))
    labels = (problem.labels + shifts) % problem.regression.classes
    return hard(problem, labels, relabel, drop=nobody(problem))
