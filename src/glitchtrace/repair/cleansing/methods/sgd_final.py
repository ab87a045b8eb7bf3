"""SGD-influence over the last epoch with the final parameters throughout (Suzuki et al. 2021).

What is kept is one set of parameters.
"""

from collections.abc import Mapping
from typing import Any

from glitchtrace.repair.cleansing.problem import Problem, Scored
from glitchtrace.repair.cleansing.walks import walk

CARD = {
    "label": "SGD-influence, final parameters",
    "summary": "SGD-influence over the last epoch with the final parameters at every step: no snapshots.",
    "shares": "hessian",
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of the last epoch at the final parameters."""
    return walk(problem, settings, epochs="last", parameters="final")
