"""A random part of the samples: the control of the subsampling methods."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.core.portion import portion
from glitchtrace.papers.rdia.proposal import Problem, Proposal, subset

KIND = "relabelling"
CARD = {
    "label": "random subset",
    "summary": "Keep a random share of the samples.",
    "shares": "subsample",
    "settings": {},
}


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Keep floor(ratio·n) samples, drawn without replacement."""
    weights = np.zeros(len(problem))
    weights[rng.choice(len(problem), portion(settings["ratio"], len(problem)), replace=False)] = 1.0
    return subset(problem, weights)
