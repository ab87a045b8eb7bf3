"""SGD-influence over all epochs with the final parameters throughout.

Not published; the final parameters stand badly for those of early steps where these move far.
"""

from collections.abc import Mapping
from typing import Any

from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.papers.cleansing.walks import walk

KIND = "cleansing_method"
CARD = {
    "label": "SGD-influence, final parameters, all epochs",
    "summary": "SGD-influence over all epochs with the final parameters at every step: no snapshots.",
    "shares": ["credits", "hessian"],
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of the whole training at the final parameters."""
    return walk(problem, settings, epochs="all", parameters="final")
