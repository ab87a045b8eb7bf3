"""Products with an inverse, A⁻¹b, of a symmetric operator A = H + λI that is known by what it does to a vector.

Conjugate gradients, factorisation of the whole matrix, LiSSA, and the momentum descent of published programs stand
on one interface.  A vector is one array (d,) or a tuple of tensors, one per parameter of a network.  Published
programs start and stop differently, so start and stop are arguments.  Every solver reports the residual
‖As − b‖/‖b‖ that it leaves; one that did not arrive says so in the log, one that moves away raises.

Source: docs/methods/influence-functions.md#solvers.  LiSSA: Agarwal, Bullins, Hazan, Second-order stochastic
optimization for machine learning in linear time, 2017, in the scaled and damped form of Koh and Liang, Understanding
black-box predictions via influence functions, 2017.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator

V = TypeVar("V")

SOLVERS = ("cg", "direct", "lissa")
# Rows of a matrix that the direct solver is willing to hold.
DIRECT_LIMIT = 10_000
# Residuals from which on an iteration has not converged, and has moved away from the solution: 0 leaves 1.
UNFINISHED, DIVERGED = 0.1, 10.0

_FINITE = "lower the learning rate, or look for such values in the features"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operator(Generic[V]):
    """A = H + ``damping``·I, given by ``product``: v -> Hv.

    ``sampled`` is an unbiased estimate of Hv from a random part of the data, and ``bound`` an upper bound of the
    eigenvalues of every such estimate, for LiSSA.  ``size`` counts the entries of a vector.  For arrays: ``dense``
    gives H (d, d) where that is cheaper than d products, ``diagonal`` its diagonal (d,), the preconditioner of the
    conjugate gradients.  ``remedy`` ends the message about an operator that is not positive definite.
    """

    product: Callable[[V], V]
    size: int
    damping: float = 0.0
    dense: Callable[[], np.ndarray] | None = None
    diagonal: Callable[[], np.ndarray] | None = None
    sampled: Callable[[V, np.random.Generator], V] | None = None
    bound: Callable[[], float] | None = None
    remedy: str = "add regularisation (a smaller C) or damping"

    def apply(self, vector: V) -> V:
        """(H + λI)v."""
        image = self.product(vector)
        return _axpy(self.damping, vector, image) if self.damping else image

    def matrix(self) -> np.ndarray:
        """H + λI as a matrix of its own, (d, d).  Raises GlitchtraceError where it is not finite."""
        if self.dense is not None:
            matrix = self.dense()
        else:
            product: Callable[[np.ndarray], np.ndarray] = self.product  # type: ignore[assignment]
            matrix = np.stack([product(unit) for unit in np.eye(self.size)], axis=1)
        if not np.isfinite(matrix).all():
            raise GlitchtraceError(f"the Hessian holds NaN or infinite values; {_FINITE}")
        matrix[np.diag_indices(self.size)] += self.damping  # in place: it can be most of the memory
        return matrix

    def residual(self, solution: V, target: V) -> float:
        """‖As − b‖/‖b‖; 0 for b = 0."""
        norm = _norm(target)
        return _norm(_axpy(-1.0, target, self.apply(solution))) / norm if norm else 0.0

    def not_definite(self, reason: str) -> GlitchtraceError:
        """The error for an operator that is not positive definite."""
        damped = f" damped by {self.damping:g}" if self.damping else ""
        return GlitchtraceError(f"the Hessian{damped} is not positive definite ({reason}); {self.remedy}")


@dataclass(frozen=True)
class Solution(Generic[V]):
    """``vector`` ≈ A⁻¹b, the products it took, and the relative residual ‖As − b‖/‖b‖ (0 for b = 0)."""

    vector: V
    iterations: int
    residual: float


def solve(
    operator: Operator[np.ndarray], target: np.ndarray, solver: str = "cg", **settings: Any
) -> Solution[np.ndarray]:
    """A⁻¹·target by one of ``SOLVERS``, whose keyword arguments ``settings`` are.

    Raises GlitchtraceError for an unknown solver, a target that is not finite, and as the solvers do.
    """
    functions: Mapping[str, Callable[..., Solution[np.ndarray]]] = {
        "cg": conjugate_gradients,
        "direct": direct,
        "lissa": lissa,
    }
    if solver not in functions:
        raise GlitchtraceError(f"solver: unknown value '{solver}'; use {', '.join(SOLVERS)}")
    return functions[solver](operator, target, **settings)


def conjugate_gradients(
    operator: Operator[V],
    target: V,
    *,
    tolerance: float = 1e-8,
    limit: int | None = None,
    precondition: bool = True,
    start: V | None = None,
    indefinite: Literal["refuse", "stop"] = "refuse",
    unfinished: Literal["refuse", "log"] = "refuse",
) -> Solution[V]:
    """A⁻¹b for a positive definite A, until ‖As − b‖ ≤ ``tolerance``·‖b‖, with at most ``limit`` products.

    ``limit``: by default 20·d, and at most 1,000.  ``precondition``: divide by the diagonal of H, where that is
    known.  ``start``: by default 0.  Where a direction of negative curvature, or the limit, ends it before the
    tolerance, ``indefinite`` and ``unfinished`` say whether that is an error, or the vector so far is returned and
    the log tells its residual.

    Raises GlitchtraceError in these cases, and always where the first direction is of negative curvature.
    """
    limit = limit or min(20 * operator.size, 1000)
    scale = _preconditioner(operator) if precondition else None
    _check_finite(target)
    solution, residual = _zeros(target), _in_float64(target)
    if start is not None:
        solution = start
        residual = _axpy(-operator.damping, start, _axpy(-1.0, operator.product(start), target))
    norm = _norm(target)
    goal = tolerance * norm
    direction = residual
    slope_before, largest, reason = 1.0, 0.0, ""
    for iteration in range(limit + 1):
        error = _norm(residual)
        if error <= goal:
            return Solution(solution, iteration, error / norm if norm else 0.0)
        if iteration == limit:
            break
        step = residual if scale is None else _divided(residual, scale)
        slope = _dot(residual, step)
        direction = _axpy(slope / slope_before, direction, step) if iteration else step
        image = operator.apply(direction)
        curvature = _dot(direction, image)
        quotient = curvature / _dot(direction, direction)
        largest = max(largest, quotient)
        # What rounding leaves of 0 is not positive.
        if not quotient > largest * np.finfo(np.float64).eps:
            reason = f"its curvature along a direction is {quotient:.3g}"
            if indefinite == "refuse" or not iteration:
                raise operator.not_definite(reason)
            break
        solution = _axpy(slope / curvature, direction, solution)
        residual = _axpy(-(slope / curvature), image, residual)
        slope_before = slope
    if not reason and unfinished == "refuse":
        raise GlitchtraceError(
            f"conjugate gradients: residual {error / norm:.1e} after {limit} products, {tolerance:.1e} wanted; "
            "raise the limit or the tolerance, or use solver: direct"
        )
    _log.warning(
        "conjugate gradients end after %d steps with a residual of %.1e, %.1e wanted%s",
        iteration,
        error / norm,
        tolerance,
        f": {reason}" if reason else "",
    )
    return Solution(solution, iteration, error / norm)


def direct(
    operator: Operator[np.ndarray], target: np.ndarray, *, indefinite: bool = False
) -> Solution[np.ndarray]:
    """A⁻¹b by a factorisation of the whole matrix; the oracle of the others.

    ``target``: (d,), or (d, k) for k systems at once.  ``indefinite``: take the symmetric factorisation of Bunch and
    Kaufman in the place of Cholesky's, and warn where eigenvalues are negative: influence then describes a saddle.
    The residual is that of one system; NaN of several.

    Raises GlitchtraceError where A has more than ``DIRECT_LIMIT`` rows, is singular to rounding, or is not positive
    definite where it must be.
    """
    _check_finite(target)
    if indefinite:
        _check_size(operator)
        solution = _by_bunch_and_kaufman(operator, target)
    else:
        solution = factorised(operator)(target)
    return Solution(solution, 1, operator.residual(solution, target) if target.ndim == 1 else math.nan)


def factorised(operator: Operator[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The function b -> A⁻¹b, b (d,) or (d, k), of a matrix that is factorised once.

    Raises GlitchtraceError as ``direct`` does.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    _check_size(operator)
    try:
        factor = cho_factor(operator.matrix(), lower=True, overwrite_a=True)
    except LinAlgError:
        raise operator.not_definite("Cholesky's factorisation fails") from None
    return partial(cho_solve, factor)


def lissa(
    operator: Operator[V],
    target: V,
    *,
    scale: float | None = None,
    damping: float = 0.0,
    depth: int = 5000,
    repeat: int = 1,
    tolerance: float = 0.0,
    seed: int = 0,
) -> Solution[V]:
    """A⁻¹b by a truncated, sampled Neumann series: h ← b + (1 − δ)·h − Ĥh/scale, δ = damping + λ/scale, from h = b.

    After ``depth`` steps h/scale estimates (H + δ·scale·I)⁻¹b, so that ``damping`` is a share of ``scale``; the mean
    over ``repeat`` runs is taken.  ``scale`` must exceed the largest eigenvalue of every sampled Ĥ; by default it is
    the ``bound`` of the operator, which is safe and may be far above that eigenvalue.  What is left of the series
    after the last step falls as (1 − δ − μ/scale)^depth along an eigenvector of eigenvalue μ, so that ``depth`` has
    to be several times scale/μ.  A run ends early once a step changes h by less than ``tolerance``·‖h‖ (never for 0:
    a sampled series keeps moving).  Draws depend on ``seed``.

    A residual above 0.1 is logged.  Raises GlitchtraceError without a scale where the operator has no bound, where a
    run diverges, and where the mean ends ten times farther from b than 0 is.
    """
    if scale is None:
        if operator.bound is None:
            raise GlitchtraceError("LiSSA: the Hessian has no known bound; give scale, above its eigenvalues")
        scale = operator.bound()
    _check_finite(target)
    rng = generator(seed, "LiSSA")
    sampled = operator.sampled or (lambda vector, _: operator.product(vector))
    decay = damping + operator.damping / scale
    total, products = _zeros(target), 0
    bound = 1e6 * max(_norm(target), 1e-300)
    for _ in range(repeat):
        current = _in_float64(target)
        for _ in range(depth):
            with np.errstate(over="ignore", invalid="ignore"):
                following = _lissa_step(target, current, sampled(current, rng), decay, scale)
                products += 1
                change, norm = _norm(_axpy(-1.0, current, following)), _norm(following)
            current = following
            if not norm < bound * depth:
                raise GlitchtraceError(
                    f"LiSSA diverges: the sampled Hessian is larger than scale = {scale:g}; raise scale"
                )
            if change < tolerance * norm:
                break
        total = _axpy(1.0, _map(lambda part: part / scale, current), total)
    solution = _map(lambda part: part / repeat, total)
    left = _axpy(damping * scale, solution, operator.apply(solution)) if damping else operator.apply(solution)
    size = _norm(target)
    residual = _norm(_axpy(-1.0, target, left)) / size if size else 0.0
    remedy = "raise scale where it diverges, depth where it is not done, or use conjugate gradients"
    return _reported("LiSSA", Solution(solution, products, residual), remedy, refuse=True)


def momentum_descent(
    operator: Operator[V],
    target: V,
    products: Iterable[Callable[[V], V]],
    *,
    learning_rate: float,
    momentum: float,
    start: V | None = None,
) -> Solution[V]:
    """A⁻¹b by gradient descent with momentum on ½s'As − b's, from ``start`` or 0, one step per sampled product.

    ``products``: v -> Ĥv of one batch each, in order.  The solver of published programs, which is far from converged
    where λ is small: a residual above 0.1 is logged.  Raises GlitchtraceError where a value stops being finite.
    """
    _check_finite(target)
    solution = _zeros(target) if start is None else start
    velocity = _zeros(target)
    steps = 0
    for product in products:
        steps += 1
        slope = _map(lambda a, b, c: a + operator.damping * b - c, product(solution), solution, target)
        velocity = _map(lambda a, b: momentum * a + b, velocity, slope)
        solution = _axpy(-learning_rate, velocity, solution)
    found = Solution(solution, steps, operator.residual(solution, target))
    remedy = (
        "lower its rate where it diverges, raise its epochs where it is not done, or use conjugate gradients"
    )
    return _reported("descent with momentum", found, remedy, refuse=False)


def _reported(name: str, found: Solution[V], remedy: str, *, refuse: bool) -> Solution[V]:
    """The solution, with a line in the log where it has not converged; refused where it is no solution at all."""
    text = f"{name} leaves a residual of {found.residual:.2g} of the right-hand side after {found.iterations} steps"
    if not math.isfinite(found.residual) or (refuse and found.residual > DIVERGED):
        raise GlitchtraceError(f"{text}: it diverges; {remedy}")
    if found.residual > UNFINISHED:
        _log.warning("%s: it has not converged; %s", text, remedy)
    return found


def _check_size(operator: Operator[np.ndarray]) -> None:
    if operator.size > DIRECT_LIMIT:
        raise GlitchtraceError(
            f"solver direct: a matrix of {operator.size} rows is too large (at most {DIRECT_LIMIT}); use cg"
        )


def _by_bunch_and_kaufman(operator: Operator[np.ndarray], target: np.ndarray) -> np.ndarray:
    import warnings

    from scipy.linalg import LinAlgError, LinAlgWarning, eigvalsh
    from scipy.linalg import solve as solve_matrix

    matrix, name = operator.matrix(), f"the Hessian with damping {operator.damping:g}"
    values = eigvalsh(matrix)
    if np.abs(values).min() <= 1e-13 * np.abs(values).max():
        raise GlitchtraceError(f"{name} is singular to rounding; raise the damping")
    if values[0] < 0:
        _log.warning(
            "%s has %d negative eigenvalues; raise the damping above %.3g for a positive definite one",
            name,
            int(np.sum(values < 0)),
            -values[0] + operator.damping,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", LinAlgWarning)
        try:
            found: np.ndarray = solve_matrix(matrix, target, assume_a="sym")
        except (LinAlgWarning, LinAlgError):
            raise GlitchtraceError(f"{name} is too ill-conditioned; raise the damping") from None
    return found


def _preconditioner(operator: Operator[V]) -> np.ndarray | None:
    if operator.diagonal is None:
        return None
    scale = operator.diagonal() + operator.damping
    if not (scale > 0).all():
        raise operator.not_definite("its diagonal is not positive")
    return scale


# --- arithmetic of arrays and of tuples of tensors ----------------------------------------------------------------


def _map(function: Callable[..., Any], *vectors: V) -> V:
    """The vector whose parts are the function of matching parts."""
    parts: Any = vectors
    found: Any = tuple(map(function, *parts)) if isinstance(parts[0], tuple) else function(*parts)
    return cast(V, found)


def _axpy(factor: float, x: V, y: V) -> V:
    """Y + factor·x; tensors by their own fused call."""

    def part(x: Any, y: Any) -> Any:
        return y + factor * x if isinstance(y, np.ndarray) else y.add(x, alpha=factor)

    return _map(part, x, y)


def _lissa_step(target: V, current: V, product: V, decay: float, scale: float) -> V:
    return _map(lambda b, h, c: b + (1 - decay) * h - c / scale, target, current, product)


def _dot(first: V, second: V) -> float:
    """The inner product, in float64."""
    if isinstance(first, np.ndarray):
        return float(first @ second)
    pairs: Any = zip(first, second, strict=True)  # type: ignore[call-overload]
    return sum(float((a.double() * b.double()).sum()) for a, b in pairs)


def _norm(vector: V) -> float:
    square = _dot(vector, vector)
    return math.sqrt(square) if square >= 0 else math.nan


def _zeros(vector: V) -> V:
    return _map(
        lambda part: np.zeros(part.shape) if isinstance(part, np.ndarray) else part.new_zeros(part.shape),
        vector,
    )


def _in_float64(vector: V) -> V:
    """A target to iterate from: arrays in float64, tensors in the precision of their network."""
    return vector.astype(np.float64) if isinstance(vector, np.ndarray) else vector  # type: ignore[return-value]


def _divided(vector: V, scale: np.ndarray) -> V:
    divided: Any = vector / scale
    return cast(V, divided)


def _check_finite(target: V) -> None:
    parts: Any = target if isinstance(target, tuple) else (target,)
    if not all(bool((np.isfinite(p) if isinstance(p, np.ndarray) else p.isfinite()).all()) for p in parts):
        raise GlitchtraceError(f"the right-hand side of a solver holds NaN or infinite values; {_FINITE}")
