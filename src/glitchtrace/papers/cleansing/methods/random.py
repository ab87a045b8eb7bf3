"""Removal at random, the control: one order per trial, of which each number of samples takes the first."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.core.seeding import generator
from glitchtrace.papers.cleansing.problem import Problem, Scored

KIND = "cleansing_method"
CARD = {
    "label": "random",
    "summary": "Samples in random order, one order per trial.",
    "reads": "nothing",
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """Uniform values, drawn with the seed of the trial."""
    return Scored(generator(problem.seed, "cleansing at random").random(len(problem.labels)))
