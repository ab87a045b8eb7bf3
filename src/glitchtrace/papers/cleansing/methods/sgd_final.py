"""SGD-influence over the last epoch with the final parameters throughout (Suzuki et al. 2021).

What is kept is one set of parameters.
"""

from collections.abc import Mapping
from typing import Any

from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.papers.cleansing.walks import walk

KIND = "cleansing_method"
CARD = {
    "label": "SGD-influence, final parameters",
    "summary": "SGD-influence over the last epoch with the final parameters at every step: no snapshots.",
    "shares": ["credits", "hessian"],
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of the last epoch at the final parameters."""
    return walk(problem, settings, epochs="last", parameters="final")
