"""SGD-influence as a score of harm, for the methods that walk over the recorded training."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.influence.sgd_influence.walk import sgd_influence
from glitchtrace.papers.cleansing.problem import Problem, Scored


def walk(
    problem: Problem,
    settings: Mapping[str, Any],
    *,
    epochs: str,
    parameters: str = "trace",
    hessian: bool = True,
) -> Scored:
    """Score −r: a sample whose removal should lower the validation loss comes first.

    ``epochs``: ``all`` or ``last``; ``parameters``: ``trace`` for those before each step, ``final`` for the
    last ones throughout.  ``settings`` may hold the ``compat`` options of the method.
    """
    trace, compat = problem.trace, settings.get("compat", {})
    scopes = sgd_influence(
        problem.network,
        problem.setting.samples,
        trace,
        problem.validation_gradient,
        snapshots=problem.snapshots if parameters == "trace" else None,
        first_epoch=0 if epochs == "all" else trace.epochs - 1,
        hessian=hessian,
        hvp_scale="legacy" if compat.get("divide_hessian_twice") else "mean",
        bn=settings["batch_norm"],
    )
    return Scored(-scopes[:, 0], scopes)
