"""SGD-influence without its Hessian, a gradient product of every step (a variant in the code of Hara et al.)."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.papers.cleansing.walks import walk

KIND = "cleansing_method"
CARD = {
    "label": "gradient products, all epochs",
    "summary": "Gradient products over all epochs, from the parameters before each step, without the Hessian.",
    "snapshots": "all",
    "shares": "credits",
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r with the same u at every step."""
    return walk(problem, settings, epochs="all", hessian=False)
