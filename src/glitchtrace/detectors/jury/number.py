"""How many labels are wrong: by a noise matrix over classes, and by one over samples where validation rows allow."""

from dataclasses import dataclass, replace

import numpy as np

from glitchtrace.detectors.jury import noise
from glitchtrace.detectors.jury.ballots import Ballots
from glitchtrace.detectors.jury.pool import Pool, loss_at_rate
from glitchtrace.detectors.jury.promise import Scale, odd_share

TWO_SIDED = 1.96


@dataclass(frozen=True)
class Number:
    """The share of wrong labels with a 95 % interval; ``model``: what errors are taken to depend on."""

    share: float
    low: float
    high: float
    model: str

    def of(self, rows: int) -> tuple[float, float, float]:
        """The number of wrong labels among so many rows, with its interval."""
        return self.share * rows, self.low * rows, self.high * rows


def class_number(pool: Pool, scale: Scale, ballots: Ballots, labels: np.ndarray, training: int) -> Number:
    """Mean of 1 - q_i(y_i) over training rows; the interval is that of the scale s of T.

    Upwards it is one of the square root, as of a count.  Where the number does not differ from 0, the curvature there
    is of no use, and the likelihood ratio says how many could be wrong.  Of two classes, odd right labels look like
    wrong ones: so many as ``with_odd`` adds may be none.
    """
    own = ballots.take(slice(0, training))
    p = pool.posterior(own)
    q, _ = noise.responsibilities(p, own.column(pool.noise, labels[:training]))
    place = own.place(labels[:training])
    share = 1 - float(np.where(place >= 0, q[np.arange(training), place], 0).mean())
    error = min(scale.error, 1.0)
    # Three rows in n are what no wrong label among n allows (95 %).
    high = max(share * (1 + 0.5 * TWO_SIDED * error) ** 2, 3.0 / training)
    if scale.lower() <= 0:
        high = max(high, _possible(pool, ballots, labels, training))
    low = share - TWO_SIDED * error * share
    if ballots.classes == 2:
        low -= odd_share(p)
    return Number(share, max(0.0, low), min(1.0, high), "classes")


def _possible(pool: Pool, ballots: Ballots, labels: np.ndarray, training: int) -> float:
    """The largest share of wrong labels that a likelihood ratio test does not refuse (95 %), to a tenth of itself."""
    best, count = loss_at_rate(pool, ballots, labels, training, None)

    def refused(rate: float) -> bool:
        return 2 * count * (loss_at_rate(pool, ballots, labels, training, rate)[0] - best) > TWO_SIDED**2

    rate, top = 3.0 / training, 0.5 * (1 - 1 / ballots.classes)
    while rate < top and not refused(rate):
        rate *= 2
    low, high = 0.5 * rate, rate
    while high > 1.1 * low:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if refused(middle) else (middle, high)
    return low


_THIRDS, _STEPS, _START = 3, 100, 0.3
_TARGET_ROWS, _CLASS_ROWS = 10.0, 50.0
_CLEAN = 0.003
_HIDDEN = (0.05, 0.2)  # shares of the experts' doubt that may be wrong labels which follow the sample


def mixed_share(p: np.ndarray, labels: np.ndarray, matrix: np.ndarray) -> tuple[float, float]:
    """The share of wrong labels, and of those that follow the sample, where errors may follow classes *and* samples.

    P(y | c, i) = 1 - e for y = c, else e [(1 - l) t_cy + l p_i(y) / (1 - p_i(c))]: with l the wrong label is the one
    that the sample itself suggests, otherwise one of the targets t of its class; e = e_b f_c for the third b of
    max_c p_i and the class c. EM with p fixed; t is shrunk to uniform by 10 rows, f to 1 by 50.

    Parameters
    ----------
    p
        The experts' belief (n, K) before the observed label.
    labels
        Observed labels (n,).
    matrix
        T (K, K), whose targets are the start.
    """
    n, K = p.shape
    surest = p.max(axis=1)
    third = np.digitize(surest, np.quantile(surest, [1 / 3, 2 / 3]))
    rate, factor, follows = np.full(_THIRDS, 0.1), np.ones(K), _START
    off = matrix - np.diag(np.diag(matrix))
    uniform = (1 - np.eye(K)) / (K - 1)
    lost = off.sum(axis=1, keepdims=True)
    targets = np.where(lost > 1e-9, off / np.maximum(lost, 1e-12), uniform)
    # Rows of one observed label and one third share e and t, and only sums over them are needed.
    suggested = p * p[np.arange(n), labels][:, None] / np.maximum(1 - p, 1e-9)
    order = np.lexsort((third, labels))
    cell, starts = np.unique((labels * _THIRDS + third)[order], return_index=True)
    cells = list(
        zip(
            *np.divmod(cell, _THIRDS),
            np.split(p[order], starts[1:]),
            np.split(suggested[order], starts[1:]),
            strict=True,
        )
    )
    wrong = 0.0
    for _ in range(_STEPS):
        e = np.minimum(rate[:, None] * factor, 0.95)
        by_class, by_sample = np.zeros((2, K, _THIRDS, K))  # observed label, third, true class
        right = np.zeros((K, _THIRDS, K))
        for y, b, own, other in cells:
            classes = e[b] * (1 - follows) * targets[:, y]
            samples = e[b] * follows
            classes[y], samples[y] = 1 - e[b, y], 0
            share = 1 / np.maximum(own @ classes + other @ samples, 1e-300)
            by_class[y, b] = classes * (share @ own)
            by_sample[y, b] = samples * (share @ other)
            right[y, b, y], by_class[y, b, y] = by_class[y, b, y], 0
        flips = (by_class + by_sample).sum(axis=0)
        q = flips + right.sum(axis=0)
        wrong = float(flips.sum())
        follows = float(by_sample.sum()) / max(wrong, 1e-12)
        rate = flips.sum(axis=1) / np.maximum(q @ factor, 1e-12)
        found = by_class.sum(axis=1).T
        targets = (found + _TARGET_ROWS * uniform) / (found.sum(axis=1) + _TARGET_ROWS)[:, None]
        pull = _CLASS_ROWS * wrong / n
        factor = (flips.sum(axis=0) + pull) / (rate @ q + pull)
    return wrong / n, follows


def mixed_number(
    pool: Pool,
    sure: Pool | None,
    classes: Number,
    scale: Scale,
    ballots: Ballots,
    labels: np.ndarray,
    training: int,
) -> Number:
    """The number by classes and samples together; by classes alone where that finds nothing.

    With right validation labels, p comes from ``sure``, which they alone decided: training labels that follow the
    sample draw p towards themselves.  The interval holds the sampling error of the noise and, squared, how far the
    estimate stands from the same without that safeguard: from the pool of all rows, or from the number by classes.
    Without such labels it holds the interval by classes too.  It reaches further up: where people err as the experts
    do, their wrong labels hide in what the experts doubt, and no label tells of them; as many as are found may, but
    no more than a fifth of that doubt and no less than a twentieth.
    """
    own = ballots.take(slice(0, training))
    p = pool.posterior(own)
    believed = p if sure is None else sure.posterior(own)
    doubt = float(1 - believed.max(axis=1).mean())
    hidden = min(max(classes.share, _HIDDEN[0] * doubt), _HIDDEN[1] * doubt)
    if classes.share < _CLEAN or not ballots.complete:
        return replace(classes, high=min(1.0, classes.high + hidden))
    share, _ = mixed_share(p, labels[:training], pool.noise)
    other = classes.share
    if sure is not None:
        other, (share, _) = share, mixed_share(believed, labels[:training], pool.noise)
    error = min(scale.error, 1.0)
    spread = float(np.hypot(TWO_SIDED * error * share, share - other))
    low, high = share - spread, share + spread
    if sure is None:
        low, high = min(low, classes.low), max(high, classes.high)
    return Number(share, max(0.0, low), min(1.0, high + hidden), "classes and samples")
