"""SGD-influence over all epochs with the final parameters throughout.

Not published; the final parameters stand badly for those of early steps where these move far.
"""

from collections.abc import Mapping
from typing import Any

from glitchtrace.repair.cleansing.problem import Problem, Scored
from glitchtrace.repair.cleansing.walks import walk

CARD = {
    "label": "SGD-influence, final parameters, all epochs",
    "summary": "SGD-influence over all epochs with the final parameters at every step: no snapshots.",
    "shares": "hessian",
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of the whole training at the final parameters."""
    return walk(problem, settings, epochs="all", parameters="final")
