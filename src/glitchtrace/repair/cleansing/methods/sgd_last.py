"""SGD-influence over the last epoch, with the parameters before each step (Hara et al. 2019)."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.repair.cleansing.problem import Problem, Scored
from glitchtrace.repair.cleansing.walks import walk

CARD = {
    "label": "SGD-influence, last epoch",
    "summary": "SGD-influence over the last epoch, from the parameters before each step.",
    "snapshots": "last",
    "settings": {
        "batch_norm": {
            "enum": ["batch", "eval", "single"],
            "description": "Statistics behind the credits: those of the batch, the running ones, or, as "
            "published, those of each sample alone.",
            "default": "batch",
        },
        "compat": {
            "type": "object",
            "additionalProperties": False,
            "description": "Switches that reproduce the published code.",
            "properties": {
                "divide_hessian_twice": {
                    "type": "boolean",
                    "description": "Divide the Hessian-vector product by the batch size once more.",
                    "default": False,
                },
            },
        },
    },
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of the last epoch."""
    return walk(problem, settings, epochs="last")
