"""SGD-influence over the last epoch, with the parameters before each step (Hara et al. 2019)."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.papers.cleansing.walks import walk

KIND = "cleansing_method"
CARD = {
    "label": "SGD-influence, last epoch",
    "summary": "SGD-influence over the last epoch, from the parameters before each step.",
    "snapshots": "last",
    "shares": ["credits", "hessian"],
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of the last epoch."""
    return walk(problem, settings, epochs="last")
