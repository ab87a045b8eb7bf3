"""OptLR: subsampling with probabilities that make the weighted estimate of the parameters vary least.

Source: Ting, Brochu, Optimal subsampling with influence functions, 2018; with the cheap norm Wang, Zhu, Ma, Optimal
subsampling for large sample logistic regression, 2018; docs/methods/rdia.md#baselines.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion
from glitchtrace.influence.solvers import DIRECT_LIMIT
from glitchtrace.papers.rdia.proposal import Problem, Proposal, subset
from glitchtrace.papers.rdia.regression import dense, squares

KIND = "relabelling"
CARD = {
    "label": "OptLR",
    "summary": "Draw samples in proportion to the norm of their influence on the parameters, with inverse weights.",
    "shares": "subsample",
    "settings": {
        "norm": {
            "enum": ["hessian", "gradient"],
            "description": "Probabilities in proportion to ‖H⁻¹∇ℓ_i‖, or to ‖∇ℓ_i‖, which needs no Hessian.",
            "default": "hessian",
        },
    },
}

BLOCK = 1024  # rows whose gradients are held at a time


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Draw r = floor(ratio·n) times with replacement with probability π_i; a draw weighs 1/(r·π_i).

    The weighted sum of losses then has the expectation of the sum over all samples.  Raises GlitchtraceError
    where the Hessian is too large for ``norm: hessian``.
    """
    residuals = problem.regression.residuals(
        problem.probabilities, problem.regression.one_hot(problem.labels)
    )
    norms = _norms(problem, residuals, settings["norm"])
    total = norms.sum()
    shares = norms / total if total else np.full(len(problem), 1 / len(problem))
    draws = portion(settings["ratio"], len(problem))
    counts = rng.multinomial(draws, shares)
    weights = np.divide(counts, draws * shares, out=np.zeros(len(problem)), where=counts > 0)
    return subset(problem, weights)


def _norms(problem: Problem, residuals: np.ndarray, norm: str) -> np.ndarray:
    """‖∇ℓ_i‖ or ‖H⁻¹∇ℓ_i‖, (n,)."""
    if norm == "gradient":
        lengths = np.sqrt(np.asarray(squares(problem.X).sum(axis=1)).ravel())
        return np.linalg.norm(residuals, axis=1) * lengths
    from scipy.linalg import cho_factor, cho_solve

    hessian = problem.regression.hessian(problem.parameters, problem.X)
    if hessian.size > DIRECT_LIMIT:
        raise GlitchtraceError(
            f"OptLR: a Hessian of {hessian.size} rows is too large (at most {DIRECT_LIMIT}); "
            "set relabellings.<name>.norm: gradient"
        )
    factor = cho_factor(hessian.matrix(), lower=True, overwrite_a=True)
    norms = np.empty(len(problem))
    for first in range(0, len(problem), BLOCK):
        rows = slice(first, first + BLOCK)
        X = dense(problem.X[rows])
        gradients = (X[:, :, None] * residuals[rows, None, :]).reshape(len(X), -1)
        norms[rows] = np.linalg.norm(cho_solve(factor, gradients.T), axis=0)
    return norms
