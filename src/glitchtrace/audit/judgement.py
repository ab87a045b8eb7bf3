"""Which labels are wrong: experts that have not seen a row are pooled together with the share of wrong labels.

p_i(c) ∝ exp(Σ_e w_e z_e,i(c) + b_c), w ≥ 0, and the share ε of wrong labels maximise
Σ_i log[(1 − ε) p_i(y_i) + ε (1 − p_i(y_i))/(K − 1)]: the likelihood of the observed labels.  On clean data ε is 0 and
nothing is flagged.  docs/audit.md says what the promise means and when it holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from glitchtrace.audit.learners import floored
from glitchtrace.audit.representation import Representation
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury.promise import DRAWS, largest_by_posterior, odd_share, paired_steps, with_odd

_FITTED_ROWS = 50_000
_CALIBRATED_ROWS = 5000  # decide whether given probabilities say anything of the labels
_PRIOR = 1e-3
_JURY_ROWS, _JURY_CLASSES = (1000, 200_000), 1000


@dataclass(frozen=True)
class Judgement:
    """What is believed of the labels of n rows.

    ``probabilities``: (n, K) pooled, without the row's own label.  ``wrong``: probability that the label is wrong.
    ``score``: higher = more suspicious.  ``proposed``: the best other class, ``confidence``: its posterior.
    ``flags``: the set with the promise.  ``number``, ``low``, ``high``: wrong labels and their 95 % interval.
    """

    probabilities: np.ndarray
    wrong: np.ndarray
    score: np.ndarray
    proposed: np.ndarray
    confidence: np.ndarray
    flags: np.ndarray
    number: float
    low: float
    high: float
    weights: dict[str, float]
    condition: str


def judge(
    experts: Mapping[str, np.ndarray], y: np.ndarray, classes: int, max_false: float, seed: int
) -> Judgement:
    """Judge labels (n,) by experts' probabilities (n, K), each out of fold."""
    names = sorted(experts)
    z = np.stack([_levels(experts[name]) for name in names])
    rows = np.arange(len(y))
    if len(y) > _FITTED_ROWS:
        rows = np.sort(generator(seed, "audit pool").choice(len(y), _FITTED_ROWS, replace=False))
    theta = _fit(z[:, rows], y[rows], classes)
    epsilon = float(_share(theta[-1]))
    # Of the rows that decide, however many more there are.
    error = _error(z[:, rows], y[rows], classes, theta)
    low, high = max(0.0, epsilon - 1.96 * error), min(1.0, epsilon + 1.96 * error)
    cautious = max(0.0, epsilon - 1.645 * error)
    held = _fit(z[:, rows], y[rows], classes, start=theta, share=cautious)
    p = _pool(z, theta)
    if classes == 2:  # as many as odd right labels may be, of which the others know: see ``class_number``
        low = max(0.0, low - odd_share(p))
    wrong = _wrong(p, y, epsilon)
    score = _score(p, y)
    flags = np.zeros(len(y), dtype=bool)
    if cautious > 0:
        flags = promised(_right(z, y, classes, held, cautious, rows), score, max_false)
    other = p.copy()
    other[np.arange(len(y)), y] = -1
    proposed = other.argmax(axis=1)
    rest = np.maximum(1 - p[np.arange(len(y)), y], 1e-12)
    confidence = wrong * p[np.arange(len(y)), proposed] / rest
    return Judgement(
        p, wrong, score, proposed, confidence, flags, epsilon * len(y), low * len(y), high * len(y),
        dict(zip(names, np.exp(theta[: len(names)]).round(4).tolist(), strict=True)),
        "It holds where wrong labels do not follow pairs of classes, and right labels that look wrong are rare.",
    )  # fmt: skip


def calibrated_loss(p: np.ndarray, y: np.ndarray, classes: int, fold: np.ndarray, seed: int) -> float:
    """The mean loss of labels (n,) in nats by probabilities (n, K) that are made to fit the labels of other folds.

    Logarithms are scaled by w ≥ 0 and shifted by class.  A model that is sure of the truth loses much where labels are
    wrong, and one that learnt from them does not: like this they compare.
    """
    rows = np.arange(len(y))
    if len(y) > _CALIBRATED_ROWS:
        rows = np.sort(generator(seed, "audit calibrated").choice(len(y), _CALIBRATED_ROWS, replace=False))
    z, y, fold = _levels(p)[None, rows], y[rows], fold[rows]
    losses = np.zeros(len(y))
    for number in np.unique(fold):
        own = fold == number
        if not own.all():
            theta = _fit(z[:, ~own], y[~own], classes, share=0.0)
            losses[own] = -_parts(z[:, own], y[own], theta, 0.0)[0]
    return float(losses.mean())


def likeliest_order(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The order (K,) of the columns of probabilities (n, K) that gives the labels (n,) most."""
    from scipy.optimize import linear_sum_assignment

    given = np.zeros((p.shape[1],) * 2)
    np.add.at(given, y, p)
    order: np.ndarray = linear_sum_assignment(-given)[1]
    return order


def jury_sits(rows: int, classes: int) -> bool:
    """Whether the jury judges, and not the pool of cross-fitted learners.

    On tables of some hundred rows its kernels are too sure of themselves: see the measurements in docs/audit.md.
    """
    return _JURY_ROWS[0] <= rows <= _JURY_ROWS[1] and classes <= _JURY_CLASSES


def judge_by_jury(
    views: Representation, y: np.ndarray, classes: int, groups: np.ndarray | None, max_false: float, seed: int
) -> Judgement:
    """Judge labels (n,) by the jury: kernels, votes of neighbours, softmax regression and, of tables, a forest."""
    from glitchtrace.detectors.jury.judge import Jury

    parts = views.parts()
    trees = tuple(parts) if views.trees is not None else ()
    verdict = Jury(trees=trees).judge(parts, y, groups=groups, max_false=max_false, seed=seed)
    n = len(y)
    # What is believed without the row's own label: the posterior divided by what the label has said.
    spoken = np.maximum(verdict.noise[verdict.candidates, y[:, None]], 1e-6)
    p = np.zeros((n, classes))
    np.put_along_axis(p, verdict.candidates.astype(np.int64), verdict.posterior / spoken, axis=1)
    p = floored(p)
    wrong = 1 / (1 + np.exp(-np.clip(verdict.label_log_odds, -50, 50)))
    number = verdict.number
    return Judgement(
        p, wrong, verdict.label_log_odds, verdict.proposed, verdict.confidence, verdict.flagged, *number.of(n),
        {name: round(float(share), 4) for name, share in sorted(verdict.experts.items())}, verdict.promise.words,
    )  # fmt: skip


def promised(right: np.ndarray, score: np.ndarray, max_false: float) -> np.ndarray:
    """The flags (n,) of ``largest_by_posterior``; among equal posteriors the higher score comes first.

    ``right``: probability (n,) that a label is right, or (draws, n).
    """
    flags = np.zeros(right.shape[-1], dtype=bool)
    order = np.lexsort((-score, np.atleast_2d(right).mean(axis=0)))
    flags[order[: largest_by_posterior(right, max_false)]] = True
    return flags


def _right(
    z: np.ndarray, y: np.ndarray, classes: int, theta: np.ndarray, epsilon: float, rows: np.ndarray
) -> np.ndarray:
    """Posteriors (draws, n) that labels are right for a given share of wrong ones, weights and biases drawn."""
    count = z.shape[0]
    _, slopes = _parts(z[:, rows], y[rows], theta, epsilon)
    information = slopes[:, :-1].T @ slopes[:, :-1] + 2 * _PRIOR * len(rows) * np.eye(count + classes)
    root = np.linalg.inv(np.linalg.cholesky(information)).T
    result = np.empty((DRAWS, len(y)), dtype=np.float32)
    for place, step in enumerate(paired_steps(count + classes)):
        moved = theta.copy()
        moved[:-1] += np.r_[np.clip((root @ step)[:count], -np.log(2), np.log(2)), (root @ step)[count:]]
        p = np.maximum(_pool(z, moved), 1e-4 / classes)
        result[place] = 1 - _wrong(with_odd(p) if classes == 2 else p, y, epsilon)
    return result


def _levels(p: np.ndarray) -> np.ndarray:
    # What lies below the floor counts alike: a model may be sure and wrong on more rows than observed labels can show.
    # A perfect model's own probabilities then flag little; at a tenth of the floor up to four in five wrong labels, but
    # a model that is sure and wrong on 3 % of simulated rows broke the promise (55 of 176 false).
    z = np.log(p + 0.003)
    z -= z.mean(axis=1, keepdims=True)
    z /= max(float(z.std()), 1e-9)
    return z


def _share(x: float) -> float:
    return float(0.95 / (1 + np.exp(-x)))


def _pool(z: np.ndarray, theta: np.ndarray) -> np.ndarray:
    count, classes = z.shape[0], z.shape[2]
    logits = np.tensordot(np.exp(theta[:count]), z, axes=1) + theta[count : count + classes]
    logits -= logits.max(axis=1, keepdims=True)
    p: np.ndarray = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    return p


def _parts(z: np.ndarray, y: np.ndarray, theta: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood (n,) and its derivatives (n, parameters), the last in ε."""
    count, classes = z.shape[0], z.shape[2]
    rows = np.arange(len(y))
    p = _pool(z, theta)
    a = p[rows, y]
    likelihood = np.maximum((1 - epsilon) * a + epsilon * (1 - a) / (classes - 1), 1e-300)
    slope = ((1 - epsilon) - epsilon / (classes - 1)) / likelihood * a
    residual = -p
    residual[rows, y] += 1
    of_bias = slope[:, None] * residual
    of_weights = np.stack([(of_bias * z[e]).sum(axis=1) * np.exp(theta[e]) for e in range(count)], axis=1)
    of_share = ((1 - a) / (classes - 1) - a) / likelihood
    return np.log(likelihood), np.concatenate([of_weights, of_bias, of_share[:, None]], axis=1)


def _fit(
    z: np.ndarray, y: np.ndarray, classes: int, start: np.ndarray | None = None, share: float | None = None
) -> np.ndarray:
    """Parameters (log w, b, logit of ε); ``share`` holds ε fixed."""
    from scipy.optimize import minimize

    count = z.shape[0]
    best: tuple[float, np.ndarray] | None = None
    prior = np.log(np.bincount(y, minlength=classes) + 1.0)
    starts = (
        [start]
        if start is not None
        else [np.concatenate([np.full(count, np.log(1.0 / count)), 0 * prior, [x]]) for x in (-1.5, -5.0)]
    )

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        epsilon = share if share is not None else _share(theta[-1])
        value, slopes = _parts(z, y, theta, epsilon)
        gradient = slopes.mean(axis=0)
        gradient[-1] = 0.0 if share is not None else gradient[-1] * epsilon * (1 - epsilon / 0.95)
        bias = theta[count:-1]
        gradient[count:-1] -= 2 * _PRIOR * bias
        gradient[:count] -= 2 * _PRIOR * theta[:count]
        return -(value.mean() - _PRIOR * (bias @ bias + theta[:count] @ theta[:count])), -gradient

    bounds = [(-8.0, 4.0)] * count + [(-20.0, 20.0)] * classes + [(-14.0, 8.0)]
    for first in starts:
        assert first is not None
        found = minimize(
            objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200}
        )
        if best is None or found.fun < best[0] - 1e-9:
            best = (float(found.fun), found.x)
    assert best is not None
    return best[1]


def _error(z: np.ndarray, y: np.ndarray, classes: int, theta: np.ndarray) -> float:
    """Standard error of ε, profiled over weights and biases, from the outer product of the rows' scores."""
    _, slopes = _parts(z, y, theta, _share(theta[-1]))
    count = z.shape[0]
    information = slopes.T @ slopes
    ridge = np.concatenate([np.full(count, 2e-4), np.full(classes, 2e-3), [0.0]]) * len(y)
    return float(np.sqrt(max(np.linalg.pinv(information + np.diag(ridge))[-1, -1], 0.0)))


def _wrong(p: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
    a = p[np.arange(len(y)), y]
    other = epsilon * (1 - a) / (p.shape[1] - 1)
    result: np.ndarray = other / np.maximum((1 - epsilon) * a + other, 1e-300)
    return result


def _score(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    a = p[np.arange(len(y)), y]
    score: np.ndarray = np.log(np.maximum(1 - a, 1e-12)) - np.log(np.maximum(a, 1e-12))
    return score
