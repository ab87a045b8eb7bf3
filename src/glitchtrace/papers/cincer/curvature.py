"""Scores g_iᵀ (F + λI)⁻¹ g_k, or g_iᵀ F⁺ g_k, for F = Σ_m w_m u_m u_mᵀ given by gradients u_m.

The Fisher matrix of a classifier is F = (1/|S|) Σ_{n∈S} Σ_c p(c|x_n) u u ᵀ with u = ∇ log p(c|x_n): a sum of
r = |S|·C outer products.  Two exact ways, the cheaper is taken:

* *dual*, from inner products alone (Woodbury).  With U = (√w_m u_m), G = UᵀU, a = Uᵀg_i, b = Uᵀg_k:
  (F + λI)⁻¹ gives (g_i·g_k − aᵀ (λI + G)⁻¹ b) / λ, and F⁺ gives aᵀ (G⁺)² b;
* *primal*, from the P × P matrix, where P < r (the softmax layer of a small network).

The dual way never builds F, and where gradients are Kronecker products (every dense layer) never a gradient.
The pseudo-inverse drops eigenvalues below ``cutoff`` times the largest; λ > 0 uses a Cholesky factor.
Everything is float64.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.gradients import Gradients

# The published pseudo-inverse kept eigenvalues down to 1e-15 of the largest, which in float32 inverts rounding.
CUTOFF = 1e-10


def fisher_scores(
    one: Gradients,
    many: Gradients,
    columns: Gradients,
    weights: np.ndarray,
    *,
    damping: float = 0.0,
    cutoff: float = CUTOFF,
) -> np.ndarray:
    """Scores (k,) of the gradients ``many`` with the single gradient ``one`` under the Fisher metric.

    ``columns`` (r gradients u_m) and ``weights`` (r,) define F; ``damping`` λ ≥ 0, where 0 takes the
    pseudo-inverse.  Raises GlitchtraceError where gradients are not finite.
    """
    if columns.parameters < len(columns):
        vectors = columns.vectors()
        return matrix_scores(
            one.vectors()[0],
            many.vectors(),
            (weights[:, None] * vectors).T @ vectors,
            damping=damping,
            cutoff=cutoff,
        )
    inner = None if damping == 0 else one.dot(many)[0]
    return _dual(
        columns.dot(columns), columns.dot(one)[:, 0], columns.dot(many), inner, weights, damping, cutoff
    )


def block_scores(
    one: Gradients, many: Gradients, columns: Gradients, weights: np.ndarray, *, damping: float, cutoff: float
) -> np.ndarray:
    """The same with the blocks of F between different parameter tensors set to zero; Σ over tensors."""
    parts = zip(
        columns.tensor_dots(columns),
        columns.tensor_dots(one),
        columns.tensor_dots(many),
        one.tensor_dots(many),
        strict=True,
    )
    found = [
        _dual(gram, first[:, 0], others, inner[0] if damping else None, weights, damping, cutoff)
        for gram, first, others, inner in parts
    ]
    total: np.ndarray = np.sum(found, axis=0)
    return total


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
        return others @ cho_solve(_cholesky(matrix, damping), gradient)
    values, vectors = eigh(matrix)
    kept = values > cutoff * max(values[-1], 0)
    scores: np.ndarray = (others @ vectors[:, kept]) @ ((vectors[:, kept].T @ gradient) / values[kept])
    return scores


def _dual(
    gram: np.ndarray,
    first: np.ndarray,
    others: np.ndarray,
    inner: np.ndarray | None,
    weights: np.ndarray,
    damping: float,
    cutoff: float,
) -> np.ndarray:
    roots = np.sqrt(weights)
    gram = roots[:, None] * gram * roots
    first, others = roots * first, roots[:, None] * others
    _check_finite(gram)
    if inner is not None:
        scores: np.ndarray = (inner - cho_solve(_cholesky(gram, damping), first) @ others) / damping
        return scores
    values, vectors = eigh(gram)
    kept = values > cutoff * max(values[-1], 0)
    # In coordinates of the eigenvectors u = Uq/√λ of F, a gradient is qᵀUᵀg/√λ, and F⁺ divides by λ once more.
    turned = vectors[:, kept].T
    return np.asarray(((turned @ first) / values[kept] ** 2) @ (turned @ others))


def _cholesky(matrix: np.ndarray, damping: float) -> tuple[np.ndarray, bool]:
    damped = matrix + damping * np.eye(len(matrix))
    try:
        return cho_factor(damped, lower=True)
    except np.linalg.LinAlgError:
        raise GlitchtraceError(
            f"curvature: the Fisher matrix with damping {damping:g} is singular to rounding; raise the "
            "negotiator's damping, or set it to 0 for the pseudo-inverse"
        ) from None


def _check_finite(matrix: np.ndarray) -> None:
    if not np.isfinite(matrix).all():
        raise GlitchtraceError(
            "curvature: gradients are not finite; the model has diverged, lower its learning rate or use bits: 64"
        )
