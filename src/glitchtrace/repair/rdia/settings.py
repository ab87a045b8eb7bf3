"""Settings that several methods of RDIA share, and those of its solvers; standard library only, as the cards are.

The card of a method says which: ``threshold`` (it acts on D₋ = {Φ > α}) or ``subsample`` (it keeps a share of the
samples).
"""

from collections.abc import Mapping
from typing import Any

THRESHOLD: dict[str, Any] = {
    "alpha": {
        "type": ["number", "null"],
        "minimum": 0,
        "description": (
            "Threshold α of the influence, in the learner's units: Φ > α is harmful; null: the one of `alphas` with "
            "the least validation loss after retraining."
        ),
        "default": None,
    },
    "alphas": {
        "type": "array",
        "minItems": 1,
        "items": {"type": "number", "minimum": 0},
        "description": "Thresholds to choose from where `alpha` is null.",
        "default": [0.01, 0.002, 0.0002],
    },
}
SUBSAMPLE: dict[str, Any] = {
    "ratio": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "Share of the samples to keep.",
        "default": 0.95,
    },
}
# Solver -> its own among the ``solver_settings`` of a learner, the keyword arguments of its function.
SOLVER_SETTINGS = {
    "cg": ("tolerance", "limit", "precondition"),
    "direct": (),
    "lissa": ("scale", "damping", "depth", "repeat", "tolerance", "seed"),
}


def foreign_solver_settings(learner: str, settings: Mapping[str, Any]) -> str | None:
    """Why the settings of a learner do not fit its solver, with the remedy; None where they do."""
    solver = settings.get("solver", "cg")
    own = SOLVER_SETTINGS[solver]
    for key in settings.get("solver_settings", ()):
        if key not in own:
            return (
                f"learners.{learner}.solver_settings: {key} is no setting of the solver {solver}; leave it out "
                f"({solver} takes {', '.join(own) or 'none'}) or choose another solver"
            )
    return None


def common(card: Mapping[str, Any]) -> dict[str, Any]:
    """The shared settings of the method with this card."""
    return {**(THRESHOLD if card.get("threshold") else {}), **(SUBSAMPLE if card.get("subsample") else {})}
