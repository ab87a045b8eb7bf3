"""Influence of each training sample on the clean validation loss, and of relabelling it.

With s = H⁻¹(C Σ_j ∇ℓ(z_j)) over the validation samples,

    Φ_i = −(C ∇ℓ(z_i))ᵀ s,      Φ_i / (1 − p_i)   for relabelling, p_i the probability of the observed label.

**Positive is harmful**: deleting sample i changes the sum of the validation losses by −Φ_i/C to first order, and
relabelling it by −Φ_i/(C(1 − p_i)).  These are the units ``code`` of the published program, in which every published
α is given; they grow with C and with the number M of validation samples.  The units ``mean`` take the mean of the
validation gradients in the place of their sum: Φ_i/M, for which α is divided by M as well.

Source: Kong, Shen, Huang, ICLR 2022; docs/methods/rdia.md#influence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.solvers import Solution, solve
from glitchtrace.papers.rdia.regression import Regression
from glitchtrace.papers.rdia.relabelling import FLOOR

if TYPE_CHECKING:
    from glitchtrace.papers.rdia.regression import Matrix

UNITS = ("code", "mean")


@dataclass(frozen=True)
class Influence:
    """Influence of n training samples.

    ``deletion`` Φ and ``relabelling`` Φ/(1 − p), (n,); ``probabilities`` φ (n, K) of the training samples;
    ``solution``: s, flat, with the iterations and the residual of its solver.
    """

    deletion: np.ndarray
    relabelling: np.ndarray
    probabilities: np.ndarray
    solution: Solution[np.ndarray]

    def harmful(self, alpha: float) -> np.ndarray:
        """D₋ = {i: Φ_i > α}, strictly, (n,) bool.  Raises GlitchtraceError for a negative α."""
        if not alpha >= 0:
            raise GlitchtraceError(f"alpha: {alpha} is below 0; samples of negative influence are useful")
        return self.deletion > alpha


def measure(
    regression: Regression,
    parameters: np.ndarray,
    X: "Matrix",
    labels: np.ndarray,
    validation: "Matrix",
    validation_labels: np.ndarray,
    *,
    units: str = "code",
    solver: str = "cg",
    settings: Mapping[str, Any] | None = None,
) -> Influence:
    """Influence of training samples (X, labels) on validation samples, at the fitted ``parameters``.

    ``solver`` and ``settings``: see ``solvers.solve``.  Raises GlitchtraceError for an empty validation
    set, labels outside the classes, unknown units, and a Hessian that cannot be inverted.
    """
    if not len(validation_labels):
        raise GlitchtraceError(
            "the validation set is empty, and influence is measured on it; "
            "set datasets.<name>.validation_source: holdout"
        )
    if units not in UNITS:
        raise GlitchtraceError(f"units: unknown value '{units}'; use {' or '.join(UNITS)}")
    held_out = regression.residuals(
        regression.probabilities(parameters, validation), regression.one_hot(validation_labels)
    )
    target = regression.C * np.asarray(validation.T @ held_out).ravel()
    if units == "mean":
        target /= len(validation_labels)
    solution = solve(regression.hessian(parameters, X), target, solver, **(settings or {}))
    probabilities = regression.probabilities(parameters, X)
    own = regression.residuals(probabilities, regression.one_hot(labels))
    images = np.asarray(X @ solution.vector.reshape(parameters.shape))
    deletion = -regression.C * (own * images).sum(axis=1)
    observed = probabilities[np.arange(len(labels)), labels]
    return Influence(
        deletion=deletion,
        relabelling=deletion / np.maximum(1 - observed, FLOOR),
        probabilities=probabilities,
        solution=solution,
    )
