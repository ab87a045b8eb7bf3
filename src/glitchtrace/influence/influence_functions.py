"""Influence functions of Koh and Liang for the head, as an estimator of the grid.

J_ij = (1/n) ∇ℓ_iᵀ (H + λI)⁻¹ ∇L_j at the last checkpoint, with H the Hessian of the mean training loss by the weights
of the softmax head and h̃ = [h; 1] its inputs: H = (1/n) Σ_i (diag p_i − p_i p_iᵀ) ⊗ h̃_i h̃_iᵀ, p the probabilities.
Features count as fixed: of a network with more trained layers this is the influence through its head alone.

Source: Koh and Liang 2017; docs/methods/influence-functions.md#influence-function.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from glitchtrace.influence.closed_form import residuals, rows_in, slices
from glitchtrace.influence.estimator import Estimator, EstimatorInputs, OneCheckpoint, complete_settings
from glitchtrace.influence.factors import Factors, check_labels, check_positions
from glitchtrace.influence.solvers import Operator, factorised, solve

KIND = "estimator"
CARD = {
    "label": "Koh & Liang",
    "summary": "Influence functions of Koh and Liang for the head, at the last checkpoint.",
    "shares": "blocks",
    "without": {"divide_by_batch_size": "there is no learning rate to divide"},
    "settings": {
        "solver": {
            "description": "How the Hessian is inverted: `direct`, conjugate gradients (`cg`), or LiSSA (`lissa`).",
            "default": "direct",
            "enum": ["cg", "direct", "lissa"],
        },
        "damping": {
            "description": "λ, added to the diagonal of the Hessian.",
            "default": 0.001,
            "type": "number",
            "exclusiveMinimum": 0,
        },
    },
}


def open_cell(cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
    """The estimator of one cell."""
    complete = complete_settings("influence_functions", settings)
    return HeadInfluenceFunctions(
        cell.factors.select(complete["epochs"]),
        solver=complete["solver"],
        damping=complete["damping"],
        memory_mib=complete["memory_mib"],
    )


class HeadInfluenceFunctions(OneCheckpoint):
    """Influence functions at the last checkpoint of some factors; that is the one checkpoint there is."""

    def __init__(self, factors: Factors, *, solver: str, damping: float, memory_mib: float) -> None:
        self._train, self._validation = factors.train, factors.validation
        self._features, self._others = (
            np.column_stack([part.features_at(-1), np.ones(len(part))]).astype(np.float64)
            for part in (factors.train, factors.validation)
        )
        self._solver, self._memory_mib = solver, memory_mib
        guess = factors.train.probabilities[-1].astype(np.float64)
        self._guess = guess
        self._operator = head_hessian(self._features, guess, damping)
        self._solved: np.ndarray | None = None
        self._factor: Callable[[np.ndarray], np.ndarray] | None = None

    def blocks(
        self, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and their block of J, (b, m) float64; see ``Estimator.blocks``."""
        classes = self._guess.shape[1]
        if epochs is not None:
            check_positions(epochs, 1)
        if labels is None:
            labels = self._train.labels
        check_labels(labels, len(self._train), classes)
        if self._solved is None:
            residual = residuals(
                self._validation.probabilities[-1].astype(np.float64), self._validation.labels
            )
            self._solved = self._inverted(gradients(residual, self._others))
        width, queries = self._features.shape[1], len(self._validation)
        # (K, D, m) as (D, m·K).
        weights = self._solved.reshape(classes, width, queries).transpose(1, 2, 0).reshape(width, -1)
        ours = residuals(self._guess, labels)
        for rows in slices(0, len(labels), rows_in(self._memory_mib, 16 * weights.shape[1])):
            response = (self._features[rows] @ weights).reshape(-1, queries, classes)
            yield rows, np.vecdot(response, ours[rows, None, :]) / len(labels)

    def self_influence_per_epoch(self) -> np.ndarray:
        """∇ℓ_iᵀ (H + λI)⁻¹ ∇ℓ_i / n, (1, n) float64."""
        residual = residuals(self._guess, self._train.labels)
        found = np.empty(len(residual))
        for rows in slices(0, len(found), rows_in(self._memory_mib, 24 * self._operator.size)):
            own = gradients(residual[rows], self._features[rows])
            found[rows] = np.vecdot(own, self._inverted(own).T)
        return found[None] / len(found)

    def _inverted(self, given: np.ndarray) -> np.ndarray:
        """(H + λI)⁻¹ of each row of gradients (m, K·D), as columns (K·D, m)."""
        if self._solver == "direct":
            self._factor = self._factor or factorised(self._operator)
            return self._factor(given.T)
        return np.stack([solve(self._operator, row, self._solver).vector for row in given], axis=1)


def gradients(residual: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Gradients of the losses by the head's weights, e ⊗ h̃, (rows, K·D)."""
    result: np.ndarray = (residual[:, :, None] * features[:, None, :]).reshape(len(features), -1)
    return result


def head_hessian(features: np.ndarray, guess: np.ndarray, damping: float) -> Operator[np.ndarray]:
    """H + λI of the mean loss of a softmax head with inputs (n, D) and probabilities (n, K)."""
    samples, width = features.shape
    classes = guess.shape[1]

    def product(vector: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        inputs, chances = features[rows], guess[rows]
        response = inputs @ vector.reshape(classes, width).T
        response -= (response * chances).sum(axis=1, keepdims=True)
        response *= chances
        return np.asarray((response.T @ inputs).ravel() / len(inputs))

    def dense() -> np.ndarray:
        matrix = np.empty((classes, width, classes, width))
        for a in range(classes):
            for b in range(a + 1):
                weight = guess[:, a] * ((a == b) - guess[:, b])
                part = (features * weight[:, None]).T @ features / samples
                matrix[a, :, b], matrix[b, :, a] = part, part
        return matrix.reshape(classes * width, -1)

    def diagonal() -> np.ndarray:
        return np.asarray(((guess * (1 - guess)).T @ features**2 / samples).ravel())

    def sampled(vector: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return product(vector, rng.choice(samples, min(samples, 64), replace=False))

    return Operator(
        product,
        size=classes * width,
        damping=damping,
        dense=dense,
        diagonal=diagonal,
        sampled=sampled,
        # No eigenvalue of diag p − p pᵀ is above one half.
        bound=lambda: float((features**2).sum(axis=1).max() / 2 + damping),
        remedy="raise estimators.influence_functions.damping",
    )
