"""Influence functions: products with an inverse Hessian, and the quantities made of them.

H = mean over S of ∇²ℓ(z) of the loss ℓ = −log p(y|x); s_k = (H + λI)⁻¹ ∇ℓ(z_k).  Three solvers:

* ``exact``: the P × P matrix and a symmetric indefinite (Bunch–Kaufman) factorisation, for small P;
* ``cg``: conjugate gradients, with Hessian–vector products alone;
* ``lissa``: v ← u + (1 − λ) v − ∇²ℓ(z_r) v over drawn samples r (Agarwal et al., 2017), which converges in the mean
  where the eigenvalues of λI + ∇²ℓ(z_r) lie in (0, 2).

Sources: Koh and Liang (2017); Barshan et al. (2020) for RelatIF.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import LinAlgError, LinAlgWarning, eigvalsh, solve

from glitchtrace.core.errors import GlitchtraceError

Product = Callable[[np.ndarray], np.ndarray]
_log = logging.getLogger(__name__)


def dense_hessian(product: Product, parameters: int) -> np.ndarray:
    """The matrix (P, P) behind a Hessian–vector product, one product per column."""
    matrix = np.stack([product(column) for column in np.eye(parameters)])
    return (matrix + matrix.T) / 2


def solve_exactly(hessian: np.ndarray, vectors: np.ndarray, damping: float) -> np.ndarray:
    """(H + λI)⁻¹ u for the rows u of ``vectors`` (k, P).

    An indefinite matrix is solved as it is, and a warning says how many eigenvalues are negative: the influence then
    describes a saddle, not an optimum.  Raises GlitchtraceError where the matrix is singular to rounding.
    """
    import warnings

    damped = hessian + damping * np.eye(len(hessian))
    values = eigvalsh(damped)
    if np.abs(values).min() <= 1e-13 * np.abs(values).max():
        raise GlitchtraceError(
            f"influence: the Hessian with damping {damping:g} is singular to rounding; raise the damping"
        )
    if values[0] < 0:
        _log.warning(
            "influence: the Hessian with damping %g has %d negative eigenvalues; raise the damping above %.3g for "
            "a positive definite one",
            damping,
            int(np.sum(values < 0)),
            -values[0] + damping,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", LinAlgWarning)
        try:
            found: np.ndarray = solve(damped, vectors.T, assume_a="sym").T
        except (LinAlgWarning, LinAlgError):
            raise GlitchtraceError(
                f"influence: the Hessian with damping {damping:g} is too ill-conditioned; raise the damping"
            ) from None
    return found


def solve_by_conjugate_gradients(
    product: Product, vector: np.ndarray, damping: float, *, iterations: int = 100, tolerance: float = 1e-5
) -> np.ndarray:
    """(H + λI)⁻¹ u, minimising ½ xᵀHx − uᵀx from x = u until the residual is ``tolerance`` of ‖u‖.

    At most ``iterations`` steps; what is left then is logged.  Raises GlitchtraceError where a direction of negative
    curvature shows that the matrix is not positive definite.
    """
    solution = np.array(vector, dtype=np.float64)
    residual = vector - product(solution) - damping * solution
    direction = residual.copy()
    square = float(residual @ residual)
    target = (tolerance * float(np.linalg.norm(vector))) ** 2
    for _ in range(iterations):
        if square <= target:
            return solution
        image = product(direction) + damping * direction
        bend = float(direction @ image)
        if not np.isfinite(bend) or bend <= 0:
            raise GlitchtraceError(
                f"influence: conjugate gradients met a direction of curvature {bend:.3g}; the Hessian with damping "
                f"{damping:g} is not positive definite, raise the damping"
            )
        step = square / bend
        solution += step * direction
        residual -= step * image
        before, square = square, float(residual @ residual)
        direction = residual + (square / before) * direction
    if square > target:
        _log.warning(
            "influence: conjugate gradients left a residual of %.2g of the right-hand side after %d steps",
            np.sqrt(square) / np.linalg.norm(vector),
            iterations,
        )
    return solution


def solve_by_lissa(
    sample_product: Callable[[int, np.ndarray], np.ndarray],
    vector: np.ndarray,
    damping: float,
    orders: Sequence[Sequence[int]],
) -> np.ndarray:
    """(H + λI)⁻¹ u by LiSSA, averaged over independent runs.

    ``sample_product(r, v)`` is ∇²ℓ(z_r) v; ``orders`` holds the samples r of each run.  Raises GlitchtraceError
    where a run grows beyond all bounds.
    """
    estimates = []
    for order in orders:
        estimate = np.array(vector, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            for sample in order:
                estimate = vector + (1 - damping) * estimate - sample_product(int(sample), estimate)
                if not np.isfinite(estimate).all():
                    raise GlitchtraceError(
                        f"influence: LiSSA diverged with damping {damping:g} and depth {len(order)}; raise the "
                        "damping, lower the depth, use bits: 64, or take solver: cg"
                    )
        estimates.append(estimate)
    found: np.ndarray = np.mean(estimates, axis=0)
    return found


def influence(solutions: np.ndarray, target: np.ndarray) -> np.ndarray:
    """−s_kᵀ t per sample: on the loss with t = ∇ℓ(z_test), on a prediction with t = ∇p(y|x_test)."""
    found: np.ndarray = -solutions @ target
    return found


def parameter_relative(solutions: np.ndarray, target: np.ndarray) -> np.ndarray:
    """θ-RelatIF: the influence per length ‖s_k‖ of the change of the parameters; 0 for a sample without any."""
    return _divide(influence(solutions, target), np.linalg.norm(solutions, axis=1))


def loss_relative(solutions: np.ndarray, target: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """ℓ-RelatIF: the influence per √(s_kᵀ ∇ℓ(z_k)), ``gradients`` (k, P) being ∇ℓ(z_k).

    0 where a sample changes nothing; NaN where an indefinite Hessian makes the root imaginary.
    """
    squares = np.einsum("kp,kp->k", solutions, gradients)
    with np.errstate(invalid="ignore"):
        return _divide(influence(solutions, target), np.sqrt(squares))


def without_sample(parameters: np.ndarray, solution: np.ndarray, samples: int) -> np.ndarray:
    """Parameters after leaving one of ``samples`` samples out, to first order: θ + s/n.

    Up-weighting by ε moves the optimum by −ε s, and leaving out is ε = −1/n.
    """
    return parameters + solution / samples


def _divide(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.divide(values, lengths, out=np.zeros_like(values), where=lengths != 0)
