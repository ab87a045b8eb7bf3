"""L2 logistic regression without intercept; softmax regression where there are more than two classes."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.papers.rdia.regression import Regression

KIND = "learner"
CARD = {
    "label": "logistic regression",
    "summary": "L2 logistic regression without intercept; softmax regression for more than two classes.",
    "settings": {
        "C": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Weight of the data against the regulariser ½‖θ‖².",
            "default": 0.1,
        },
        "units": {
            "enum": ["code", "mean"],
            "description": (
                "Units of the influence Φ, and so of α: with the sum of the validation gradients (`code`, of "
                "the published program and its α), or with their mean (`mean`)."
            ),
            "default": "code",
        },
        "solver": {
            "enum": ["cg", "direct", "lissa"],
            "description": "Inverse Hessian-vector product: conjugate gradients, Cholesky, or LiSSA.",
            "default": "cg",
        },
        "solver_settings": {
            "type": "object",
            "description": (
                "Of cg: `tolerance`, `limit`, `precondition`; of lissa: `scale`, `damping`, `depth`, `repeat`, "
                "`tolerance`, `seed`; direct has none."
            ),
            "additionalProperties": False,
            "properties": {
                "tolerance": {
                    "type": "number",
                    "minimum": 0,
                    "description": "Relative residual (lissa: change) at which to end (1e-8; lissa: 0).",
                },
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Most products to take (20 times the parameters, at most 1000).",
                },
                "precondition": {
                    "type": "boolean",
                    "description": "Divide by the diagonal of the Hessian (true).",
                },
                "scale": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "description": (
                        "Bound of the eigenvalues of every sampled Hessian, by default "
                        "1 + C·n·max‖x‖²/4, with more than two classes 1 + C·n·max‖x‖²/2. It is safe and often "
                        "far too large; `depth` has to be several times scale, or the smallest directions of "
                        "the Hessian are missed: see `residual` of the fit."
                    ),
                },
                "damping": {
                    "type": "number",
                    "minimum": 0,
                    "description": "Added to the Hessian, times scale (0).",
                },
                "depth": {"type": "integer", "minimum": 1, "description": "Steps of one run (5000)."},
                "repeat": {"type": "integer", "minimum": 1, "description": "Runs to take the mean of (1)."},
                "seed": {"type": "integer", "minimum": 0, "description": "Seed of the draws (0)."},
            },
            "default": {},
        },
    },
}


def build(classes: int, settings: Mapping[str, Any]) -> Regression:
    """The regression for a number of classes."""
    return Regression(classes, settings["C"])
