"""Kernel ridge regression on landmarks (Nystrom), every row judged by the exact fit without its unit."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury.ballots import DENSE
from glitchtrace.detectors.jury.rows import Rows

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_CACHED = 20_000_000  # feature values kept in memory; more are made anew, block by block
_CHOICE_ROWS = 20_000  # rows that choose the penalty
_EXACT_ROWS = 20_000  # up to here features are float64


def landmark_count(rows: int) -> int:
    """How many landmarks for so many rows: 600, rising with the square root beyond 10,000 rows, at most 1,500."""
    return int(min(rows, np.clip(600 * np.sqrt(rows / 10_000), 600, 1500)))


class NystromFeatures:
    """Features phi (N, L) whose inner products approximate exp(-gamma |x - z|²), gamma = 2 / median |x - z|².

    phi = k(x, Z) R⁻ᵀ for landmarks Z drawn from the rows and the Cholesky factor R of k(Z, Z).
    """

    def __init__(self, view: np.ndarray, landmarks: int, seed: int, name: str = "") -> None:
        rng = generator(seed, f"jury landmarks {name}")
        self.type = np.float64 if len(view) <= _EXACT_ROWS else np.float32
        chosen = np.sort(rng.choice(len(view), landmarks, replace=False))
        self._view = view
        # Equal rows would make the matrix singular.
        self._landmarks = np.unique(view[chosen], axis=0).astype(self.type)
        self._norms = np.square(self._landmarks).sum(axis=1)
        distances = self._distances(self._landmarks)
        pairs = distances[np.triu_indices(len(distances), 1)]
        median = float(np.median(pairs)) if len(pairs) else 0.0
        self.gamma = 2.0 / median if median > 0 else 1.0
        gram = np.exp(-self.gamma * distances.astype(np.float64))
        gram[np.diag_indices_from(gram)] += 1e-6
        self._factor = cholesky(gram, lower=True).astype(self.type)
        self.width = len(self._landmarks)
        self._cache: np.ndarray | None = None
        if len(view) * self.width <= _CACHED:
            self._cache = self._make(view)

    def _distances(self, rows: np.ndarray) -> np.ndarray:
        rows = rows.astype(self.type, copy=False)
        product = rows @ self._landmarks.T
        product *= -2
        product += np.square(rows).sum(axis=1)[:, None]
        product += self._norms
        result: np.ndarray = np.maximum(product, 0, out=product)
        return result

    def _make(self, rows: np.ndarray) -> np.ndarray:
        kernel = self._distances(rows)
        kernel *= self.type(-self.gamma)
        np.exp(kernel, out=kernel)
        features: np.ndarray = solve_triangular(
            self._factor, kernel.T, lower=True, check_finite=False, overwrite_b=True
        ).T
        return features

    def turned(self, basis: np.ndarray) -> bool:
        """Turn the features that are kept by an orthogonal ``basis`` (L, L): their inner products stay.

        False where none are kept.
        """
        if self._cache is None:
            return False
        self._cache = self._cache @ basis.astype(self.type)
        return True

    def rows(self, index: np.ndarray) -> np.ndarray:
        """The features of some rows (len(index), L)."""
        return self._cache[index] if self._cache is not None else self._make(self._view[index])

    def blocks(self, index: np.ndarray, size: int = 8192) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs (rows, their features)."""
        for start in range(0, len(index), size):
            part = index[start : start + size]
            yield part, self.rows(part)


def hard_products(features: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Phi' Y (L, K) for one-hot Y, without making Y where K is large."""
    if classes <= DENSE:
        return np.asarray(features.T @ np.eye(classes, dtype=features.dtype)[labels], dtype=np.float64)
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    result = np.zeros((features.shape[1], classes))
    result[:, present] = np.add.reduceat(features[order], starts, axis=0, dtype=np.float64).T
    return result


@dataclass
class KernelRidge:
    """Ridge regression of the one-hot labels on Nystrom features; the score of a row never saw its unit's labels.

    With Gram matrix Phi'Phi = U s U', Q = Phi U: f = Q (s + lambda)⁻¹ Q'Y, H = Q (s + lambda)⁻¹ Q' and, without the
    rows G of a unit, f_-G = Y_G - (I - H_GG)⁻¹ (Y_G - f_G): exact.  lambda minimises the squared error of these scores
    against the observed labels, which is proper for E[Y|x].

    ``basis``: U; None where the features have been turned by it and are Q themselves.
    """

    features: NystromFeatures
    basis: np.ndarray | None
    eigenvalues: np.ndarray
    products: np.ndarray
    penalty: float
    labels: np.ndarray
    units: np.ndarray
    classes: int

    @classmethod
    def fit(
        cls, view: np.ndarray, rows: Rows, seed: int, name: str, landmarks: int | None = None
    ) -> "KernelRidge":
        """Fit on all rows with their observed labels."""
        features = NystromFeatures(view, landmarks or landmark_count(len(rows)), seed, name)
        gram = np.zeros((features.width, features.width))
        products = np.zeros((features.width, rows.classes))
        for part, phi in features.blocks(np.arange(len(rows))):
            gram += phi.T @ phi
            products += hard_products(phi, rows.labels[part], rows.classes)
        eigenvalues, basis = np.linalg.eigh(gram)
        products = basis.T @ products
        result = cls(
            features,
            None if features.turned(basis) else basis.astype(features.type),
            np.maximum(eigenvalues, 0.0),
            products,
            1.0,
            rows.labels,
            rows.units,
            rows.classes,
        )
        result.penalty = result._choose(rows, seed)
        return result

    def _choose(self, rows: Rows, seed: int) -> float:
        some, count = [], 0
        for block in rows.blocks(2048):
            some.append(block)
            count += len(block)
        # Blocks are drawn whole, so that no unit is parted.
        order = generator(seed, "jury penalty").permutation(len(some))
        errors, seen = np.zeros(len(PENALTIES)), 0
        for number in order:
            block = some[number]
            projected = self.projected(block)
            squares = np.square(projected)
            own = self.labels[block]
            for position, penalty in enumerate(PENALTIES):
                scores = self._without(projected, squares, block, penalty)
                errors[position] += np.square(scores).sum() - 2 * scores[np.arange(len(own)), own].sum()
            seen += len(block)
            if seen >= _CHOICE_ROWS:
                break
        return PENALTIES[int(errors.argmin())]

    def _without(
        self, projected: np.ndarray, squares: np.ndarray, block: np.ndarray, penalty: float
    ) -> np.ndarray:
        shrunk = 1.0 / (self.eigenvalues + penalty)
        fitted = np.asarray(
            projected @ (shrunk[:, None] * self.products).astype(projected.dtype), dtype=np.float64
        )
        leverage = squares @ shrunk.astype(projected.dtype)
        own = self.labels[block]
        units = self.units[block]
        order = np.argsort(units, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(units[order]) > 0])
        sizes = np.diff(np.r_[starts, len(order)])
        single = order[starts[sizes == 1]]
        spare = np.maximum(1.0 - leverage[single].astype(np.float64), 1e-6)
        # The label's own column: (f - h) / (1 - h); the others: f / (1 - h).
        corrected = fitted[single] / spare[:, None]
        corrected[np.arange(len(single)), own[single]] -= leverage[single] / spare
        scores = fitted
        scores[single] = corrected
        for size in np.unique(sizes[sizes > 1]):
            members = order[starts[sizes == size][:, None] + np.arange(size)]
            scores[members] = self._without_units(projected, members, own, shrunk, fitted)
        return scores

    def _without_units(
        self,
        projected: np.ndarray,
        members: np.ndarray,
        own: np.ndarray,
        shrunk: np.ndarray,
        fitted: np.ndarray,
    ) -> np.ndarray:
        size = members.shape[1]
        result = np.empty((*members.shape, self.classes))
        step = max(1, 2_000_000 // (size * max(size, self.classes, len(shrunk))))
        for start in range(0, len(members), step):
            part = members[start : start + step]
            q = projected[part].astype(np.float64)
            if size <= len(shrunk):
                onehot = (
                    np.eye(self.classes)[own[part]]
                    if self.classes <= DENSE
                    else _onehot(own[part], self.classes)
                )
                hat = (q * shrunk) @ q.transpose(0, 2, 1)
                remainder = np.eye(size) - hat
                remainder[:, np.arange(size), np.arange(size)] += 1e-9
                result[start : start + step] = onehot - np.linalg.solve(remainder, onehot - fitted[part])
            else:  # the unit is larger than the basis: refit without it
                for number, one in enumerate(q):
                    rest = np.diag(1.0 / shrunk) - one.T @ one
                    products = self.products - hard_products(one, own[part[number]], self.classes)
                    result[start + number] = one @ np.linalg.solve(rest, products)
        return result

    def projected(self, block: np.ndarray) -> np.ndarray:
        """Q (len(block), L) of some rows."""
        phi = self.features.rows(block)
        return phi if self.basis is None else phi @ self.basis

    def scores(self, block: np.ndarray) -> np.ndarray:
        """Scores (len(block), K) of rows that form whole units."""
        projected = self.projected(block)
        return self._without(projected, np.square(projected), block, self.penalty)


def _onehot(labels: np.ndarray, classes: int) -> np.ndarray:
    result = np.zeros((*labels.shape, classes))
    np.put_along_axis(result, labels[..., None], 1.0, axis=-1)
    return result
