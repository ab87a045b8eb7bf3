"""Experts fitted in folds: softmax regression, and trees out of bag; whole units are left out."""

import numpy as np
from scipy.optimize import minimize

from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury.rows import Rows

PENALTY = 2.5e-3
STEPS = 40
_FIT_CELLS = 2e7  # rows x classes of one fit; more rows are thinned
_CHUNK = 200_000  # values of one chunk of rows, which a cache holds
BAGS, TREES = 20, 6
_BAG_ROWS = 40_000


def fit_softmax(
    view: np.ndarray, targets: np.ndarray, used: np.ndarray, classes: int, steps: int = STEPS
) -> np.ndarray:
    """Softmax regressions on the same rows with different rows left out, in one L-BFGS run: W (F, d + 1, K).

    Each minimises mean cross-entropy + lambda / 2 |W|² (the bias free), lambda = 2.5e-3.

    Parameters
    ----------
    view
        (N, d) float32.
    targets
        Labels (N,), or soft (N, K) or, one for each regression, (F, N, K).
    used
        (N, F) bool: the rows of each regression.
    classes, steps
        K, and L-BFGS steps at most.
    """
    N, width = view.shape
    F, K = used.shape[1], classes
    share = np.ascontiguousarray((used / np.maximum(used.sum(axis=0), 1)).T, dtype=np.float32)
    step = max(256, _CHUNK // (F * K))
    inputs = np.concatenate([view, np.ones((N, 1), dtype=np.float32)], axis=1)
    # Rows come last everywhere: sums over the few classes then run along memory.
    aims = None
    if targets.ndim > 1:
        aims = np.ascontiguousarray(np.swapaxes(targets if targets.ndim == 3 else targets[None], 1, 2))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(F * K, width + 1)
        narrow = weights.astype(np.float32)
        value = 0.0
        gradient = np.zeros_like(weights)
        for start in range(0, N, step):
            part = slice(start, start + step)
            rows = inputs[part]
            p = (narrow @ rows.T).reshape(F, K, -1)
            p -= p.max(axis=1, keepdims=True)
            if aims is None:
                own, place = targets[part], np.arange(len(rows))
                picked = p[:, own, place]
            else:
                aim = aims[:, :, part]
                picked = (aim * p).sum(axis=1)
            np.exp(p, out=p)
            total = p.sum(axis=1)
            p /= total[:, None]
            if aims is None:
                picked -= np.log(total)
                p[:, own, place] -= 1
            else:
                picked -= aim.sum(axis=1) * np.log(total)
                p -= aim
            weight = share[:, part]
            value -= float((picked * weight).sum(dtype=np.float64))
            p *= weight[:, None]
            gradient += p.reshape(F * K, -1) @ rows
        value += 0.5 * PENALTY * float(np.square(weights[:, :-1]).sum())
        gradient[:, :-1] += PENALTY * weights[:, :-1]
        return value, gradient.ravel()

    start = np.zeros(F * K * (width + 1))
    result = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": 8})
    fitted: np.ndarray = result.x.reshape(F, K, width + 1).transpose(0, 2, 1).astype(np.float32)
    return fitted


def softmax_scores(view: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log p (rows, K) by one regression's W (d + 1, K)."""
    logits = (view @ weights[:-1] + weights[-1]).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    result: np.ndarray = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return result


class SoftmaxFolds:
    """Softmax regression in folds: the score of a row comes from the regression that left its fold out."""

    def __init__(self, view: np.ndarray, rows: Rows, fold: np.ndarray, seed: int) -> None:
        self._view, self._fold = view, fold
        chosen = thin(len(rows), rows.classes, seed)
        used = fold[chosen, None] != np.arange(fold.max() + 1)
        self._weights = fit_softmax(view[chosen], rows.labels[chosen], used, rows.classes)

    def scores(self, block: np.ndarray) -> np.ndarray:
        """Log p (len(block), K)."""
        result = np.empty((len(block), self._weights.shape[2]))
        for number, weights in enumerate(self._weights):
            mine = self._fold[block] == number
            if mine.any():
                result[mine] = softmax_scores(self._view[block[mine]], weights)
        return result


def thin(rows: int, classes: int, seed: int) -> np.ndarray:
    """The rows that a fit in folds uses: all, or so many at random that rows x classes stays bounded."""
    limit = int(max(20_000, _FIT_CELLS // classes))
    if rows <= limit:
        return np.arange(rows)
    return np.sort(generator(seed, "jury thinning").choice(rows, limit, replace=False))


class Forest:
    """Extremely randomised trees out of bag: bags of 63 % of the units, the score is log(p + 0.01) over the others."""

    def __init__(self, view: np.ndarray, rows: Rows, seed: int) -> None:
        from sklearn.ensemble import ExtraTreesClassifier

        rng = generator(seed, "jury forest")
        count = int(rows.units.max()) + 1
        total = np.zeros((len(rows), rows.classes), dtype=np.float32)
        for number in range(BAGS):
            inside = np.zeros(count, dtype=bool)
            inside[rng.choice(count, max(1, round(0.632 * count)), replace=False)] = True
            fit = np.flatnonzero(inside[rows.units])
            if len(fit) > _BAG_ROWS:
                fit = np.sort(rng.choice(fit, _BAG_ROWS, replace=False))
            trees = ExtraTreesClassifier(
                TREES,
                min_samples_leaf=2,
                max_features=min(1.0, max(0.3, 1.0 / view.shape[1])),
                random_state=int(rng.integers(2**31)) + number,
                n_jobs=1,
            ).fit(view[fit], rows.labels[fit])
            out = np.flatnonzero(~inside[rows.units])
            # A sum of probabilities: rows out of more bags are surer, but the share is what counts.
            for start in range(0, len(out), 65_536):
                part = out[start : start + 65_536]
                total[part[:, None], trees.classes_] += trees.predict_proba(view[part]).astype(np.float32)
        mass = total.sum(axis=1, keepdims=True)
        self._shares = np.where(mass > 0, total / np.where(mass > 0, mass, 1), 1.0 / rows.classes)

    def scores(self, block: np.ndarray) -> np.ndarray:
        """log(p + 0.01) (len(block), K)."""
        result: np.ndarray = np.log(self._shares[block].astype(np.float64) + 0.01)
        return result
