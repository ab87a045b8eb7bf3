"""Which training rows do not look like the others: against validation rows, or along independent axes without."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import nbinom, norm

from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury.kernel import NystromFeatures, landmark_count
from glitchtrace.detectors.jury.neighbours import find_neighbours
from glitchtrace.detectors.jury.rows import Rows

GATE = 3.0
_SHIFT = 2.0  # training rows may be so many times denser than validation rows by a mere shift
_HIDDEN = 0.01  # chance that there are foreign rows where the gate is closed
_DEPTHS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
_NEAR, _WHITENED = 50, 40
_NEAR_ROWS = 20_000  # above, the shares of neighbours are left out
_AXES, _AXIS_ROWS = 20, 20_000
_SHARES = (0.005, 0.4)


@dataclass(frozen=True)
class Typicality:
    """How foreign each training row is.

    ``score`` (n,): to rank by, higher = less typical.  ``probability`` (n,) that the row is foreign, its lower bound;
    0 where the gate is closed.  ``likely`` (n,), the same to rank by: without caution where the gate is open, and the
    small chance that is left, see ``in_doubt``, where it is closed.  ``gate``: how surely, as a z, more rows look
    foreign than a shift between the sources would explain, open above 3.  ``checked``: whether validation rows told
    it: without, there is a ranking and no probability.
    """

    score: np.ndarray
    probability: np.ndarray
    likely: np.ndarray
    gate: float
    checked: bool

    @property
    def open(self) -> bool:
        """Whether there are foreign rows at all."""
        return self.checked and self.gate > GATE


def ridge_scores(view: np.ndarray, target: np.ndarray, weight: np.ndarray, penalty: float) -> np.ndarray:
    """Exact leave-one-out predictions (N,) of weighted ridge regression on standardised columns.

    h_ii = w_i x_i' (X'WX + lambda)⁻¹ x_i; f_-i = (f_i - h_ii t_i) / (1 - h_ii).
    """
    deviation = view.std(axis=0)
    x = (view / np.where(deviation > 0, deviation, 1)).astype(np.float64)
    x = np.concatenate([x, np.full((len(x), 1), 30.0)], axis=1)  # an intercept that is hardly shrunk
    gram = (x * weight[:, None]).T @ x
    gram[np.diag_indices_from(gram)] += penalty
    inverse = np.linalg.inv(gram)
    fitted = x @ (inverse @ (x.T @ (weight * target)))
    leverage = np.minimum(weight * np.einsum("ij,ij->i", x @ inverse, x), 1 - 1e-9)
    result: np.ndarray = (fitted - leverage * target) / (1 - leverage)
    return result


def kernel_scores(view: np.ndarray, target: np.ndarray, penalty: float, seed: int) -> np.ndarray:
    """The same of kernel ridge regression on landmarks (N,)."""
    features = NystromFeatures(view, landmark_count(len(view)), seed, "typicality")
    gram = np.zeros((features.width, features.width))
    product = np.zeros(features.width)
    for part, phi in features.blocks(np.arange(len(view))):
        gram += phi.T @ phi
        product += phi.T @ target[part]
    gram[np.diag_indices_from(gram)] += penalty
    inverse = np.linalg.inv(gram)
    result = np.empty(len(view))
    for part, phi in features.blocks(np.arange(len(view))):
        leverage = np.minimum(np.einsum("ij,ij->i", phi @ inverse, phi), 1 - 1e-9)
        result[part] = (phi @ (inverse @ product) - leverage * target[part]) / (1 - leverage)
    return result


def beyond_shift(train: np.ndarray, held: np.ndarray) -> float:
    """The largest z of the training scores above some of the highest validation scores, were they twice as dense.

    Other writers or another camera make some training rows denser than validation rows without any being foreign; twice
    as dense is where a row is more likely foreign than not.  The number of training rows above the j-th validation row
    is then negative binomial, exactly.
    """
    n, m = len(train), len(held)
    top = np.sort(held)[::-1]
    found = []
    for depth in _DEPTHS:
        j = max(round(depth * m), 1)
        above = int(np.sum(train > top[j - 1]))
        found.append(norm.isf(np.clip(nbinom.sf(above - 1, j, m / (m + _SHIFT * n)), 1e-300, 1 - 1e-12)))
    return float(max(found))


def foreign_probability(train: np.ndarray, held: np.ndarray, cautious: bool) -> np.ndarray:
    """1 - pi0 / R(t) (n,): R the isotonic ratio of training to validation density, pi0 the share of typical rows.

    ``cautious``: with the lower bound of R, one standard error of its counts.
    """
    from sklearn.isotonic import IsotonicRegression

    n, m = len(train), len(held)
    typical = min(1.0, float(np.mean(train <= np.quantile(held, 0.8))) / 0.8)
    score = np.r_[train, held]
    own = np.r_[np.ones(n), np.zeros(m)]
    level = IsotonicRegression(out_of_bounds="clip").fit(score, own).predict(score)
    _, block = np.unique(level, return_inverse=True)
    trained = np.bincount(block, own)
    others = np.bincount(block, 1 - own)
    low = trained - np.sqrt(trained) * cautious
    high = others + (np.sqrt(others) + 0.5) * cautious
    ratio = np.maximum(low, 0) / n / np.maximum(high / m, 1e-3 / m)
    # Bounds of small steps are uneven: what is less typical is no less foreign.
    ratio = np.maximum.accumulate(ratio)
    result: np.ndarray = np.clip(1 - typical / np.maximum(ratio, 1e-12), 0, 1)[block[:n]]
    return result


def in_doubt(probability: np.ndarray) -> np.ndarray:
    """The chance (n,) that a row is foreign where the gate is closed, from the lower bound 1 - pi0 / R.

    How much denser a shift alone makes training rows is not known then: the mean over s from 1 to 2 of
    max(0, 1 - s pi0 / R), times the chance that there are foreign rows at all.
    """
    typical = 1 - probability
    some = np.square(probability) / (2 * np.maximum(typical, 1 / _SHIFT) * (_SHIFT - 1))
    whole = 1 - typical * (1 + _SHIFT) / 2
    return _HIDDEN * np.where(typical * _SHIFT > 1, some, whole)


def against_validation(rows: Rows, kept: np.ndarray, seed: int) -> Typicality:
    """Typicality from what tells training rows from the ``kept`` (N,) bool validation rows.

    Level 1, exact leave-one-out: ridge on each representation and on all, kernel ridge, the share of training rows
    among 50 neighbours; level 2: a cross-fitted logit of these, which decides the gate and the probability.  Two steps
    of self-training sharpen the ranking.
    """
    index = np.flatnonzero(kept)
    n = rows.training
    views = {name: view[index] for name, view in rows.views.items()}
    everything = rows.joined()[index]
    foreign = (index < n).astype(np.float64)
    m = len(index) - n
    weight = np.where(foreign > 0, 0.5 * len(index) / n, 0.5 * len(index) / m)
    target = 2 * foreign - 1
    level = [
        ridge_scores(view, target, weight, penalty) for view in views.values() for penalty in (100.0, 1000.0)
    ]
    level.append(ridge_scores(everything, target, weight, 3000.0))
    level.append(kernel_scores(everything, target - target.mean(), 30.0, seed))
    if len(index) <= _NEAR_ROWS:
        for view in (everything, _whiten(everything)):
            near = find_neighbours(view, _plain(rows, index), _NEAR).index
            level.append(np.where(near >= 0, foreign[near], foreign.mean()).mean(axis=1))
    score = _cross_fitted_logit(np.stack(level, axis=1), foreign, seed)
    train, held = score[:n], score[n:]
    gate = beyond_shift(train, held)
    sharper = _sharpened(views, score, weight, n)[:n]
    cautious = foreign_probability(train, held, True)
    found = gate > GATE
    chance = foreign_probability(train, held, False) if found else in_doubt(cautious)
    # What was sharpened by beliefs no longer tells how many are foreign, only which.
    likely = np.empty(n)
    likely[np.argsort(sharper, kind="stable")] = np.sort(chance)
    return Typicality(sharper, cautious if found else np.zeros(n), likely, gate, True)


def _sharpened(
    views: Mapping[str, np.ndarray], score: np.ndarray, weight: np.ndarray, training: int
) -> np.ndarray:
    """Ridge of what a score lets believe of the training rows, twice, exact leave-one-out (N,); to rank by.

    Of all training rows most are typical, which blurs the first contrast; beliefs are less blurred.  The second step
    believes only what is more likely foreign than not: fainter beliefs follow a shift between the sources.
    """
    everything = np.concatenate(list(views.values()), axis=1)
    for least in (0.0, 0.5):
        belief = np.zeros(len(score))
        belief[:training] = foreign_probability(score[:training], score[training:], False)
        belief[belief <= least] = 0
        if not belief.any():
            break
        again = [ridge_scores(view, belief, weight, 30.0) for view in views.values()]
        again.append(ridge_scores(everything, belief, weight, 300.0))
        score = np.mean([_standardised(one) for one in again], axis=0)
    return score


def along_axes(views: Mapping[str, np.ndarray], training: int, seed: int) -> Typicality:
    """A ranking without validation rows: along the independent axis (ICA) that best parts off .5–40 % of the rows.

    A part of a class may be what the axis parts off, hence no probability.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    best, score = -np.inf, np.zeros(training)
    for name, whole in views.items():
        view = whole[:training].astype(np.float64)
        some: slice | np.ndarray = slice(None)
        if training > _AXIS_ROWS:
            some = generator(seed, f"jury axes {name}").choice(training, _AXIS_ROWS, replace=False)
        count = min(_AXES, view.shape[1], min(training, _AXIS_ROWS) - 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            ica = FastICA(
                count, whiten="unit-variance", random_state=seed % 2**32, max_iter=100, tol=1e-3
            ).fit(view[some])
        for axis in ica.transform(view).T:
            axis = axis * np.sign(np.mean(axis**3) or 1.0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                mixture = GaussianMixture(2, random_state=0, max_iter=50).fit(axis[some, None])
            minor = int(np.argmin(mixture.weights_))
            if not _SHARES[0] <= mixture.weights_[minor] <= _SHARES[1]:
                continue
            middle, spread = mixture.means_[:, 0], np.sqrt(mixture.covariances_[:, 0, 0])
            apart = abs(middle[0] - middle[1]) / spread.sum()
            if apart > best:
                best = apart
                score = mixture._estimate_weighted_log_prob(axis[:, None]) @ np.array([-1.0, 1.0])
                score = score if minor == 1 else -score
    return Typicality(score, np.zeros(training), np.zeros(training), 0.0, False)


def _plain(rows: Rows, index: np.ndarray) -> Rows:
    return Rows({}, {}, rows.units[index], rows.labels[index], rows.training, rows.classes)


def _whiten(view: np.ndarray) -> np.ndarray:
    values, axes = np.linalg.eigh(np.cov(view, rowvar=False).reshape(view.shape[1], -1).astype(np.float64))
    kept = np.argsort(-values)[:_WHITENED]
    kept = kept[values[kept] > 1e-9 * values.max()]
    result: np.ndarray = (view @ (axes[:, kept] / np.sqrt(values[kept]))).astype(np.float32)
    return result


def _standardised(score: np.ndarray) -> np.ndarray:
    result: np.ndarray = (score - score.mean()) / max(float(score.std()), 1e-12)
    return result


def _cross_fitted_logit(level: np.ndarray, foreign: np.ndarray, seed: int, repeats: int = 5) -> np.ndarray:
    inputs = (level - level.mean(axis=0)) / np.maximum(level.std(axis=0), 1e-12)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    rng = generator(seed, "jury typicality")
    score = np.zeros(len(level))
    for _ in range(repeats):
        fold = np.empty(len(level), dtype=np.int64)
        for side in (0.0, 1.0):
            mine = np.flatnonzero(foreign == side)
            fold[rng.permutation(mine)] = np.arange(len(mine)) % 5
        for number in range(5):
            weights = _positive_logit(inputs[fold != number], foreign[fold != number])
            score[fold == number] += inputs[fold == number] @ weights
    return score / repeats


def _positive_logit(inputs: np.ndarray, foreign: np.ndarray) -> np.ndarray:
    # Leave-one-out scores of noise lean to the wrong side; a negative weight would turn that into a finding.
    # A single validation row leaves none to the folds that it is not in.
    weight = np.where(foreign > 0, 0.5 / max(foreign.sum(), 1), 0.5 / max((1 - foreign).sum(), 1))
    sign = 2 * foreign - 1

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (inputs @ w)
        value = weight @ np.logaddexp(0, -margin) + 1e-3 * float(w[:-1] @ w[:-1])
        gradient = -inputs.T @ (weight * sign / (1 + np.exp(np.clip(margin, -700, 700))))
        gradient[:-1] += 2e-3 * w[:-1]
        return float(value), gradient

    bounds = [(0.0, None)] * (inputs.shape[1] - 1) + [(None, None)]
    fitted: np.ndarray = minimize(
        loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds
    ).x
    return fitted
