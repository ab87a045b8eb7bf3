"""Inverse curvatures: scores under the Fisher metric, and influence functions.

**Fisher.**  Scores g_iᵀ (F + λI)⁻¹ g_k, or g_iᵀ F⁺ g_k, for F = Σ_m w_m u_m u_mᵀ given by gradients u_m.  The Fisher
matrix of a classifier is F = (1/|S|) Σ_{n∈S} Σ_c p(c|x_n) u u ᵀ with u = ∇ log p(c|x_n): a sum of r = |S|·C outer
products.  Three exact ways:

* *damped, dual*, from inner products alone (Woodbury).  With U = (√w_m u_m), G = UᵀU, a = Uᵀg_i, b = Uᵀg_k:
  (F + λI)⁻¹ gives (g_i·g_k − aᵀ (λI + G)⁻¹ b) / λ.  F is never built, nor, where gradients are Kronecker products
  (every dense layer), a gradient;
* *undamped*: U = VΣQᵀ gives F⁺ = VΣ⁻²Vᵀ.  Through G the same costs division by Σ⁴, and half of the digits;
* *matrix*: from the P × P matrix, where there are fewer parameters than gradients.

The pseudo-inverse drops eigenvalues Σ² below ``cutoff`` times the largest; λ > 0 uses a Cholesky factor.  Everything
is float64.

Where the gradients of all samples of F are independent, F⁺ takes those of two different samples for orthogonal: every
score is 0, and an order of candidates would be one of rounding errors.  That is refused where F is made of all known
samples; a ``drawn`` sample that happens to be such gives scores of exactly 0, with a warning.

**Influence functions.**  H = mean over S of ∇²ℓ(z) of the loss ℓ = −log p(y|x); s_k = (H + λI)⁻¹ ∇ℓ(z_k).  Three
solvers:

* ``exact``: the P × P matrix and a symmetric indefinite (Bunch–Kaufman) factorisation, for small P;
* ``cg``: conjugate gradients, with Hessian–vector products alone;
* ``lissa``: v ← u + (1 − λ) v − ∇²ℓ(z_r) v over drawn samples r (Agarwal et al., 2017), which converges in the mean
  where the eigenvalues of λI + ∇²ℓ(z_r) lie in (0, 2).

Sources: Koh and Liang (2017); Barshan et al. (2020) for RelatIF.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh, svd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.solvers import Operator, conjugate_gradients, direct
from glitchtrace.papers.cincer.cells import EXACT_PARAMETERS, LARGEST_GRADIENT_BYTES
from glitchtrace.papers.cincer.gradients import Gradients
from glitchtrace.papers.cincer.query import Query

_log = logging.getLogger(__name__)
Product = Callable[[np.ndarray], np.ndarray]
# The published pseudo-inverse kept eigenvalues down to 1e-15 of the largest, which in float32 inverts rounding.
CUTOFF = 1e-10
# A residual of LiSSA that is not worth a word, as a share of the right-hand side, and the samples it is measured on.
_CONVERGED, _MEASURED = 0.1, 1000
# A cosine under the metric below this is rounding: measured are 4e-15 for 0, and 1e-3 upwards for others.
_ROUNDING = 1e-9


def fisher_scores(
    one: Gradients,
    many: Gradients,
    columns: Gradients,
    weights: np.ndarray,
    *,
    damping: float = 0.0,
    cutoff: float = CUTOFF,
    drawn: bool = False,
) -> np.ndarray:
    """Scores (k,) of the gradients ``many`` with the single gradient ``one`` under the Fisher metric.

    ``columns`` (r gradients u_m) and ``weights`` (r,) define F; ``damping`` λ ≥ 0, where 0 takes the
    pseudo-inverse.  ``drawn``: F is made of a part of the samples, which differs from call to call.  Raises
    GlitchtraceError where gradients are not finite, and where all scores are 0 up to rounding, unless drawn.
    """
    # Of two classes half of the gradients repeat the others, so that as many parameters may be enough for all of them.
    if columns.parameters < len(columns) and (damping or 2 * columns.parameters < len(columns)):
        vectors = columns.vectors()
        return matrix_scores(
            one.vectors()[0],
            many.vectors(),
            (weights[:, None] * vectors).T @ vectors,
            damping=damping,
            cutoff=cutoff,
        )
    if damping:
        gram, first, others = columns.dot(columns), columns.dot(one)[:, 0], columns.dot(many)
        return _damped(gram, first, others, one.dot(many)[0], weights, damping)
    _check_size(columns)
    scores, lengths = _undamped(one.vectors()[0], many.vectors(), columns.vectors(), weights, cutoff)
    return _without_rounding(scores, lengths, columns, drawn=drawn)


def block_scores(
    one: Gradients,
    many: Gradients,
    columns: Gradients,
    weights: np.ndarray,
    *,
    damping: float,
    cutoff: float,
    drawn: bool = False,
) -> np.ndarray:
    """The same with the blocks of F between different parameter tensors set to zero; Σ over tensors."""
    if damping:
        parts = zip(
            columns.tensor_dots(columns),
            columns.tensor_dots(one),
            columns.tensor_dots(many),
            one.tensor_dots(many),
            strict=True,
        )
        damped = [
            _damped(gram, first[:, 0], others, inner[0], weights, damping)
            for gram, first, others, inner in parts
        ]
        return np.asarray(np.sum(damped, axis=0))
    _check_size(columns)
    ends = np.cumsum(columns.tensors)[:-1]
    vectors = zip(
        *(np.split(gradients.vectors(), ends, axis=1) for gradients in (one, many, columns)), strict=True
    )
    undamped = [_undamped(first[0], others, every, weights, cutoff) for first, others, every in vectors]
    scores, lengths = (np.sum(parts, axis=0) for parts in zip(*undamped, strict=True))
    return _without_rounding(scores, lengths, columns, drawn=drawn)


def diagonal_scores(
    one: Gradients, many: Gradients, columns: Gradients, weights: np.ndarray, *, damping: float
) -> np.ndarray:
    """The same with the diagonal of F alone: Σ_m g_im g_km / (F_mm + λ).

    An entry with F_mm = λ = 0 has no curvature and is left out, as by a pseudo-inverse.
    """
    diagonal = columns.mean_square(weights) + damping
    gradient = one.vectors()[0]
    scaled = np.divide(gradient, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)
    return many.times(scaled[None])[:, 0]


def matrix_scores(
    gradient: np.ndarray, others: np.ndarray, matrix: np.ndarray, *, damping: float, cutoff: float = CUTOFF
) -> np.ndarray:
    """Scores (k,) of ``others`` (k, P) with ``gradient`` (P,) under an explicit positive semi-definite matrix."""
    _check_finite(matrix)
    if damping:
        return np.asarray(others @ cho_solve(_cholesky(matrix, damping), gradient))
    values, vectors = eigh(matrix)
    kept = values > cutoff * max(values[-1], 0)
    scores: np.ndarray = (others @ vectors[:, kept]) @ ((vectors[:, kept].T @ gradient) / values[kept])
    return scores


def _damped(
    gram: np.ndarray,
    first: np.ndarray,
    others: np.ndarray,
    inner: np.ndarray,
    weights: np.ndarray,
    damping: float,
) -> np.ndarray:
    """Scores by Woodbury's identity from inner products of the gradients u_m, and with them."""
    roots = np.sqrt(weights)
    gram = roots[:, None] * gram * roots
    first, others = roots * first, roots[:, None] * others
    _check_finite(gram)
    return np.asarray((inner - cho_solve(_cholesky(gram, damping), first) @ others) / damping)


def _undamped(
    gradient: np.ndarray, others: np.ndarray, columns: np.ndarray, weights: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scores under F⁺ of ``others`` (k, P) with ``gradient`` (P,), and the largest that their lengths allow."""
    _check_finite(columns)
    _, values, directions = svd(np.sqrt(weights)[:, None] * columns, full_matrices=False)
    kept = values**2 > cutoff * values[0] ** 2
    whitened = directions[kept] / values[kept, None]
    mine, theirs = whitened @ gradient, others @ whitened.T
    return theirs @ mine, np.linalg.norm(mine) * np.linalg.norm(theirs, axis=1)


def _without_rounding(
    scores: np.ndarray, lengths: np.ndarray, columns: Gradients, *, drawn: bool
) -> np.ndarray:
    """Scores of which not all are rounding, or exact zeros; see the head of this module."""
    if len(scores) < 2 or (np.abs(scores) > _ROUNDING * lengths).any():
        return scores
    reason = (
        f"without damping every score is 0 up to rounding, as {columns.parameters} parameters tell the "
        f"{len(columns)} gradients of the Fisher matrix apart"
    )
    if not drawn:
        raise GlitchtraceError(f"negotiator: {reason}; set the negotiator's damping, e.g. 0.01")
    _log.warning(
        "negotiator: %s; the first candidate is taken, set the negotiator's damping to choose", reason
    )
    return np.zeros_like(scores)


def _check_size(columns: Gradients) -> None:
    needed = 2 * len(columns) * columns.parameters * 8
    if needed > LARGEST_GRADIENT_BYTES:
        raise GlitchtraceError(
            f"negotiator: a pseudo-inverse from {len(columns)} gradients of {columns.parameters} parameters needs "
            f"{needed / 1e9:.1f} GB; set the negotiator's damping, e.g. 0.01, or a smaller sample"
        )


def _cholesky(matrix: np.ndarray, damping: float) -> tuple[np.ndarray, bool]:
    damped = matrix + damping * np.eye(len(matrix))
    try:
        factor: tuple[np.ndarray, bool] = cho_factor(damped, lower=True)
    except np.linalg.LinAlgError:
        raise GlitchtraceError(
            f"curvature: the Fisher matrix with damping {damping:g} is singular to rounding; raise the "
            "negotiator's damping, or set it to 0 for the pseudo-inverse"
        ) from None
    return factor


def _check_finite(matrix: np.ndarray) -> None:
    if not np.isfinite(matrix).all():
        raise GlitchtraceError(
            "curvature: gradients are not finite; the model has diverged, lower its learning rate or use bits: 64"
        )


def dense_hessian(product: Product, parameters: int) -> np.ndarray:
    """The matrix (P, P) behind a Hessian–vector product, one product per column."""
    matrix = np.stack([product(column) for column in np.eye(parameters)])
    return np.asarray((matrix + matrix.T) / 2)


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


def _divide(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(values, lengths, out=np.zeros_like(values), where=lengths != 0))


def inverse_hessian_products(
    query: Query, vectors: np.ndarray, settings: Mapping[str, Any], rng: np.random.RandomState
) -> np.ndarray:
    """(H + λI)⁻¹ u for the rows u of ``vectors`` (k, P), H being the mean over the known samples.

    Settings: ``solver`` (exact, cg, lissa), ``damping``, and for LiSSA ``depth``, ``samples`` and ``draws``: whether
    it draws from the known samples or, as published, from all training samples, unseen ones with their possibly
    wrong labels included.  Raises GlitchtraceError for a curvature that the solver cannot invert.
    """
    damping = float(settings["damping"])
    solver, parameters = settings["solver"], vectors.shape[1]
    hessian = Operator(
        query.mean_hessian_product,
        parameters,
        damping,
        dense=lambda: dense_hessian(query.mean_hessian_product, parameters),
        remedy="raise the damping",
    )
    if solver == "exact":
        if parameters > EXACT_PARAMETERS:
            raise GlitchtraceError(
                f"solver: exact is for at most {EXACT_PARAMETERS} parameters, the model has {parameters}; use cg"
            )
        return direct(hessian, vectors.T, indefinite=True).vector.T
    if solver == "cg":
        # Started and stopped as the published program does.
        found = [
            conjugate_gradients(
                hessian, vector, tolerance=1e-5, limit=100, start=vector, unfinished="log", precondition=False
            )
            for vector in vectors
        ]
        return np.stack([solution.vector for solution in found])
    drawn_from = np.arange(len(query.inputs)) if settings["draws"] == "all" else np.asarray(query.known)
    solutions = np.stack(
        [
            solve_by_lissa(
                query.sample_hessian_product,
                vector,
                damping,
                [rng.choice(drawn_from, settings["depth"]) for _ in range(settings["samples"])],
            )
            for vector in vectors
        ]
    )
    _report_residual(query, solutions, vectors, damping, int(settings["depth"]), drawn_from)
    return solutions


def _report_residual(
    query: Query,
    solutions: np.ndarray,
    vectors: np.ndarray,
    damping: float,
    depth: int,
    drawn_from: np.ndarray,
) -> None:
    """Log by how much LiSSA has missed, where that is more than a tenth of the right-hand side.

    The Hessian is the mean over the samples drawn from, or over at most 1000 of them, evenly chosen.
    """
    chosen = drawn_from[:: -(-len(drawn_from) // _MEASURED)]

    hessian = Operator(
        lambda vector: query.classifier.hessian_product(query.inputs[chosen], query.labels[chosen], vector),
        vectors.shape[1],
        damping,
    )
    missed = [hessian.residual(solution, vector) for solution, vector in zip(solutions, vectors, strict=True)]
    if max(missed) > _CONVERGED:
        _log.warning(
            "influence: LiSSA has not converged, its residual is %.2g of the right-hand side with damping %g and "
            "depth %d; raise one of them, or take solver: cg",
            max(missed),
            damping,
            depth,
        )
