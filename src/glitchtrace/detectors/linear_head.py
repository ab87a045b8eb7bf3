"""Detectors from the linear head itself: what leaving a sample out would do to its own logits.

With Hessian blocks H_c = Σ_i w_ic x_i x_iᵀ + λI of a logistic head on [x; 1], w = p(1 − p), and leverages
l_ic = x_iᵀ H_c⁻¹ x_i, the logits without sample i are z_ic + l_ic (p_ic − y_ic) / (1 − w_ic l_ic).
The gap is influence in closed form at the last checkpoint, over all labels that the sample could carry.
Sources: docs/methods/detectors.md.
"""

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.evidence import Detection, Evidence

KIND = "detector"
CARDS = {
    "leave_one_out": {
        "label": "ALO",
        "summary": "Cross-entropy of the observed label by the head without the sample (approximate leave-one-out).",
        "needs": ["features", "probabilities"],
        "finds": "label",
        "family": "linear head",
        "shares": "damping",
    },
    "cooks_distance": {
        "label": "Cook",
        "summary": "Cook's distance: how far leaving the sample out moves the head.",
        "needs": ["features", "probabilities"],
        "finds": "both",
        "family": "linear head",
        "shares": "damping",
    },
    "counterfactual_gap": {
        "label": "gap",
        "summary": "How much more a sample would help the validation set under its best label than under its own.",
        "needs": ["features", "probabilities", "validation"],
        "finds": "label",
        "family": "improved",
    },
}
_WIDE, _CONDITION = 256, 1e6  # single precision from so many columns, up to such a condition


def leave_one_out(evidence: Evidence, damping: float = 0.01) -> Detection:
    """−ln p_y of the head without the sample, in nats, (n,); its most probable class is proposed."""
    leverage, residuals, spread = evidence.once(_leverages, damping)
    logits = np.log(np.maximum(evidence.probabilities.astype(np.float64), 1e-300))
    logits += leverage * residuals / (1 - spread)
    logits -= logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return Detection(-logs[np.arange(len(evidence)), evidence.labels], proposed_labels=logs.argmax(axis=1))


def cooks_distance(evidence: Evidence, damping: float = 0.01) -> Detection:
    """Σ_c (p_ic − y_ic)² l_ic / (1 − w_ic l_ic)², (n,)."""
    leverage, residuals, spread = evidence.once(_leverages, damping)
    return Detection((residuals**2 * leverage / (1 - spread) ** 2).sum(axis=1))


def counterfactual_gap(evidence: Evidence) -> Detection:
    """max_c J(x, c) − J(x, y) ≥ 0, (n,), at the last checkpoint; the class that helps most is proposed.

    J(x, c) = Σ_j ((p − onehot(c)) · e_j)(h · h_j + 1), the influence of the sample on all validation samples if its
    label were c.  Only the term of c differs, so that the gap is max_c −g_c + g_y with g = Σ_j e_j (h · h_j + 1).
    """
    validation = evidence.validation
    if validation.probabilities is None:
        raise GlitchtraceError(
            "the validation samples have no probabilities; give (features, probabilities, labels)"
        )
    residuals = validation.probabilities.astype(np.float64)
    residuals[np.arange(len(residuals)), validation.labels] -= 1
    directions = residuals.T @ validation.features
    response = evidence.features @ directions.T + residuals.sum(axis=0)
    own = response[np.arange(len(evidence)), evidence.labels]
    return Detection(own - response.min(axis=1), proposed_labels=response.argmin(axis=1))


def _leverages(evidence: Evidence, damping: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """l, p − y and w · l (below 1), each (n, K) float64.

    With many features all but the factor is made in single precision, at half the cost.  The damping keeps the
    condition of H below d / damping; on 1,280 features of pictures l is off by 3e-6 of itself.
    """
    from scipy.linalg import cholesky
    from scipy.linalg.blas import dtrmm, strmm
    from scipy.linalg.lapack import dtrtri

    chances = evidence.probabilities.astype(np.float64)
    width = evidence.features.shape[1] + 1
    single = width > _WIDE and width < damping * _CONDITION
    rows = np.ones((len(evidence), width), np.float32 if single else np.float64)
    rows[:, :-1] = evidence.features
    apply = strmm if single else dtrmm
    weights = chances * (1 - chances)
    leverage = np.empty_like(chances)
    for label in range(chances.shape[1]):
        weighted = rows * np.sqrt(weights[:, label, None]).astype(rows.dtype)
        hessian = (weighted.T @ weighted).astype(np.float64, copy=False)
        mean = max(float(np.trace(hessian)) / width, 1e-12)
        hessian[np.diag_indices(width)] += damping * mean
        factor = cholesky(hessian.T, lower=True, overwrite_a=True, check_finite=False)
        inverse, _ = dtrtri(factor, lower=True)  # sooner than to solve for every row
        whitened = apply(1.0, inverse.astype(rows.dtype, copy=False), rows.T, lower=True)
        leverage[:, label] = np.einsum("ij,ij->i", whitened.T, whitened.T)
    residuals = chances.copy()
    residuals[np.arange(len(evidence)), evidence.labels] -= 1
    return leverage, residuals, np.minimum(weights * leverage, 1 - 1e-6)


COMPONENTS = {
    "leave_one_out": leave_one_out,
    "cooks_distance": cooks_distance,
    "counterfactual_gap": counterfactual_gap,
}
