"""Products with an inverse Hessian, H⁻¹b, from products with the Hessian: conjugate gradients, Cholesky, LiSSA.

A Hessian is known by what it does to a vector.  The three solvers share one interface and report how far they
came: the number of products they took and the relative residual ‖Hs − b‖/‖b‖.

Source: docs/methods/influence-functions.md#solvers; LiSSA: Agarwal, Bullins, Hazan, Second-order stochastic
optimization for machine learning in linear time, 2017, in the scaled and damped form of Koh and Liang,
Understanding black-box predictions via influence functions, 2017.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator

SOLVERS = ("cg", "direct", "lissa")
# Entries of a matrix that the direct solver is willing to hold: d up to about 5,000.
DIRECT_LIMIT = 5000


@dataclass(frozen=True)
class Hessian:
    """A symmetric matrix of ``size`` rows, given by ``product``: v (d,) -> Hv (d,), float64.

    ``dense`` gives the whole matrix (d, d) where that is cheaper than d products; ``diagonal`` its diagonal
    (d,), the preconditioner of the conjugate gradients; ``sampled`` an unbiased estimate of Hv from a random
    part of the data, and ``bound`` an upper bound of the eigenvalues of every such estimate, for LiSSA.
    """

    size: int
    product: Callable[[np.ndarray], np.ndarray]
    dense: Callable[[], np.ndarray] | None = None
    diagonal: Callable[[], np.ndarray] | None = None
    sampled: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    bound: Callable[[], float] | None = None

    def matrix(self) -> np.ndarray:
        """The whole matrix, (d, d)."""
        if self.dense is not None:
            return self.dense()
        return np.stack([self.product(unit) for unit in np.eye(self.size)], axis=1)


@dataclass(frozen=True)
class Solution:
    """``vector`` ≈ H⁻¹b, the Hessian products it took, and the relative residual ‖Hs − b‖/‖b‖ (0 for b = 0)."""

    vector: np.ndarray
    iterations: int
    residual: float


def solve(hessian: Hessian, target: np.ndarray, solver: str = "cg", **settings: Any) -> Solution:
    """H⁻¹·target by one of ``SOLVERS``, whose keyword arguments ``settings`` are.

    Raises GlitchtraceError for an unknown solver and as the solvers do.
    """
    functions: Mapping[str, Callable[..., Solution]] = {
        "cg": conjugate_gradients,
        "direct": direct,
        "lissa": lissa,
    }
    if solver not in functions:
        raise GlitchtraceError(f"solver: unknown value '{solver}'; use {', '.join(SOLVERS)}")
    return functions[solver](hessian, target, **settings)


def conjugate_gradients(
    hessian: Hessian,
    target: np.ndarray,
    *,
    tolerance: float = 1e-8,
    limit: int | None = None,
    precondition: bool = True,
) -> Solution:
    """H⁻¹b for a positive definite H, until ‖Hs − b‖ ≤ ``tolerance``·‖b‖, with at most ``limit`` products.

    ``limit``: by default 20·d, and at most 1,000.  ``precondition``: divide by the diagonal of H, where that is known.

    Raises GlitchtraceError where H is not positive definite and where the limit is reached.
    """
    limit = limit or min(20 * hessian.size, 1000)
    scale = hessian.diagonal() if precondition and hessian.diagonal is not None else None
    if scale is not None and not (scale > 0).all():
        raise GlitchtraceError(_SINGULAR.format("its diagonal is not positive"))
    solution = np.zeros_like(target)
    residual = target.astype(np.float64)
    norm = float(np.linalg.norm(target))
    goal = tolerance * norm
    direction = np.zeros_like(residual)
    slope_before, largest = 1.0, 0.0
    for iteration in range(limit + 1):
        error = float(np.linalg.norm(residual))
        if error <= goal:
            return Solution(solution, iteration, error / norm if norm else 0.0)
        step = residual if scale is None else residual / scale
        slope = float(residual @ step)
        direction = step + (slope / slope_before if iteration else 0.0) * direction
        image = hessian.product(direction)
        curvature = float(direction @ image)
        quotient = curvature / float(direction @ direction)
        largest = max(largest, quotient)
        # What rounding leaves of 0 is not positive.
        if not quotient > largest * np.finfo(np.float64).eps:
            raise GlitchtraceError(_SINGULAR.format(f"its curvature along a direction is {quotient:.3g}"))
        solution = solution + (slope / curvature) * direction
        residual = residual - (slope / curvature) * image
        slope_before = slope
    raise GlitchtraceError(
        f"conjugate gradients: residual {error / norm:.1e} after {limit} products, {tolerance:.1e} wanted; "
        "raise the limit or the tolerance, or use solver: direct"
    )


def direct(hessian: Hessian, target: np.ndarray) -> Solution:
    """H⁻¹b by a Cholesky factorisation of the whole matrix; the oracle of the others.

    Raises GlitchtraceError where H has more than ``DIRECT_LIMIT`` rows or is not positive definite.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    if hessian.size > DIRECT_LIMIT:
        raise GlitchtraceError(
            f"solver direct: a matrix of {hessian.size} rows is too large (at most {DIRECT_LIMIT}); use cg"
        )
    try:
        factor = cho_factor(hessian.matrix(), lower=True, overwrite_a=True)
    except LinAlgError:
        raise GlitchtraceError(_SINGULAR.format("Cholesky's factorisation fails")) from None
    solution = cho_solve(factor, target)
    return Solution(solution, 1, _residual(hessian, solution, target))


def lissa(
    hessian: Hessian,
    target: np.ndarray,
    *,
    scale: float | None = None,
    damping: float = 0.0,
    depth: int = 5000,
    repeat: int = 1,
    tolerance: float = 0.0,
    seed: int = 0,
) -> Solution:
    """H⁻¹b by a truncated, sampled Neumann series: h ← b + (1 − damping)·h − Ĥh/scale, from h = b.

    After ``depth`` steps h/scale estimates (H + damping·scale·1)⁻¹b; the mean over ``repeat`` runs is taken.
    ``scale`` must exceed the largest eigenvalue of every sampled Ĥ; by default it is the ``bound`` of the Hessian,
    which is safe and may be far above that eigenvalue.  What is left of the series after the last step falls as
    (1 − damping − λ/scale)^depth along an eigenvector of eigenvalue λ, so that ``depth`` has to be several times
    scale/λ.  A run ends early once a step changes h by less than ``tolerance``·‖h‖ (never for 0: a sampled series
    keeps moving).  Draws depend on ``seed``.

    Raises GlitchtraceError without a scale where the Hessian has no bound, and where a run diverges.
    """
    if scale is None:
        if hessian.bound is None:
            raise GlitchtraceError("LiSSA: the Hessian has no known bound; give scale, above its eigenvalues")
        scale = hessian.bound()
    rng = generator(seed, "LiSSA")
    sampled = hessian.sampled or (lambda vector, _: hessian.product(vector))
    total, products = np.zeros_like(target, dtype=np.float64), 0
    bound = 1e6 * max(float(np.linalg.norm(target)), 1e-300)
    for _ in range(repeat):
        current = target.astype(np.float64)
        for _ in range(depth):
            following = target + (1 - damping) * current - sampled(current, rng) / scale
            products += 1
            change, norm = float(np.linalg.norm(following - current)), float(np.linalg.norm(following))
            current = following
            if not norm < bound * depth:
                raise GlitchtraceError(
                    f"LiSSA diverges: the sampled Hessian is larger than scale = {scale:g}; raise scale"
                )
            if change < tolerance * norm:
                break
        total += current / scale
    solution = total / repeat
    return Solution(solution, products, _residual(hessian, solution, target))


_SINGULAR = "the Hessian is not positive definite ({}); add regularisation (a smaller C) or damping"


def _residual(hessian: Hessian, solution: np.ndarray, target: np.ndarray) -> float:
    norm = float(np.linalg.norm(target))
    return float(np.linalg.norm(hessian.product(solution) - target)) / norm if norm else 0.0
