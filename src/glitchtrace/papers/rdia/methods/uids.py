"""UIDS: unweighted subsampling that prefers samples of useful influence.

Source: Wang, Zhu, Dong, He, Huang, Less is better: unweighted data subsampling via influence function, AAAI 2020;
docs/methods/rdia.md#baselines.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.core.portion import portion
from glitchtrace.papers.rdia.proposal import Problem, Proposal, subset

KIND = "relabelling"
CARD = {
    "label": "UIDS",
    "summary": "Keep samples with a probability that falls with their influence, without weights.",
    "shares": "subsample",
    "settings": {
        "steepness": {
            "type": "number",
            "minimum": 0,
            "description": "k of π = 1/(1 + exp(k·Φ/(max Φ − min Φ))).",
            "default": 10,
        },
    },
}

PASSES = 100


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Per class, collect floor(ratio·n_class) samples from passes of Bernoulli draws with probability π_i.

    What the last pass has too many is left out at random; what is missing after 100 passes is filled at random.
    """
    probabilities = keep_probabilities(problem.influence, settings["steepness"])
    weights = np.zeros(len(problem))
    for label in np.unique(problem.labels):
        members = np.flatnonzero(problem.labels == label)
        chosen = _collect(probabilities[members], portion(settings["ratio"], len(members)), rng)
        weights[members[chosen]] = 1.0
    return subset(problem, weights)


def keep_probabilities(influence: np.ndarray, steepness: float) -> np.ndarray:
    """π (n,): 1/(1 + exp(k·Φ/(max Φ − min Φ))), ½ everywhere where all influences are equal."""
    spread = np.ptp(influence)
    if not spread:
        return np.full(len(influence), 0.5)
    # ln(1 + eˣ) does not overflow where eˣ does.
    return np.exp(-np.logaddexp(0, steepness * influence / spread))


def _collect(probabilities: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` positions, by passes over those not collected yet."""
    collected = np.zeros(len(probabilities), dtype=bool)
    for _ in range(PASSES):
        drawn = np.flatnonzero(~collected & (rng.random(len(probabilities)) < probabilities))
        missing = count - int(collected.sum())
        collected[drawn if len(drawn) <= missing else rng.choice(drawn, missing, replace=False)] = True
        if collected.sum() == count:
            break
    missing = count - int(collected.sum())
    collected[rng.choice(np.flatnonzero(~collected), missing, replace=False)] = True
    return np.flatnonzero(collected)
