"""Settings of the solvers of RDIA; standard library only: read while the workflow is planned."""

from collections.abc import Mapping
from typing import Any

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
