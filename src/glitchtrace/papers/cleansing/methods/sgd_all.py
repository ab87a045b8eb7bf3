"""SGD-influence over all epochs, with the parameters before each step (Hara et al. 2019)."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.papers.cleansing.walks import walk

KIND = "cleansing_method"
CARD = {
    "label": "SGD-influence, all epochs",
    "summary": "SGD-influence over all epochs, from the parameters before each step.",
    "snapshots": "all",
    "shares": ["credits", "hessian"],
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of the whole training, and its parts by first epoch."""
    return walk(problem, settings, epochs="all")
