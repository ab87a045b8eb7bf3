"""The noise matrix T[c, y] = P(observed y | true c), by expectation and maximisation with shrinkage."""

import numpy as np

from glitchtrace.detectors.jury.ballots import Ballots

# Strength of shrinking the class rates to the pooled rate, and the targets to uniform; the simplest first.
STRENGTHS = ((1e9, 1e9), (50.0, 1e9), (50.0, 10.0), (5.0, 10.0), (5.0, 1.0))
UNIFORM = STRENGTHS[0]
_HIGHEST = 0.95
LEAST, _MOST = 0.01, 0.9


def uniform_matrix(rate: float, classes: int) -> np.ndarray:
    """T (K, K) with one flip rate and uniform targets."""
    matrix = np.full((classes, classes), rate / (classes - 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


def flip_rate(matrix: np.ndarray, labels: np.ndarray) -> float:
    """The mean flip rate, sum_c share_c (1 - T[c, c]), each class by its share of the ``labels``."""
    share = np.bincount(labels, minlength=len(matrix)) / len(labels)
    return float(share @ (1 - np.diag(matrix)))


def contradicted(matrix: np.ndarray) -> bool:
    """Whether some class is observed as another one more often than as itself: labels alone cannot tell such a T."""
    others = matrix - np.diag(np.diag(matrix))
    return bool((np.diag(matrix) <= others.max(axis=1)).any())


def scaled(matrix: np.ndarray, s: float) -> np.ndarray:
    """I + s (T - I); a class whose rate would pass 0.95 stays there."""
    rate = 1 - np.diag(matrix)
    factor = np.minimum(s, _HIGHEST / np.maximum(rate, 1e-12))
    result: np.ndarray = matrix * factor[:, None]
    np.fill_diagonal(result, 1 - rate * factor)
    return result


def opened(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """T with uniform targets and its own flip rate, at least 0.01: a start for EM, which never leaves a rate of 0."""
    rate = flip_rate(matrix, labels)
    return uniform_matrix(min(max(rate, LEAST), _MOST), len(matrix))


def responsibilities(p: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q_i(c) ~ p_i(c) T[c, y_i] (N, C), and the log likelihood of each observed label (N,)."""
    joint = p * column
    total = np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
    return joint / total, np.log(total[:, 0])


def counts(q: np.ndarray, ballots: Ballots, labels: np.ndarray) -> np.ndarray:
    """Expected number of rows with true label c and observed label y (K, K)."""
    K = ballots.classes
    if ballots.complete:
        result = np.zeros((K, K))
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        result[:, present] = np.add.reduceat(q[order], starts, axis=0).T
        return result
    cell = ballots.candidates.astype(np.int64) * K + labels[:, None]
    sums: np.ndarray = np.bincount(cell.ravel(), weights=q.ravel(), minlength=K * K).reshape(K, K)
    return sums


def maximise(found: np.ndarray, strengths: tuple[float, float]) -> np.ndarray:
    """T from the expected counts: class rates shrunk to the pooled rate, targets to uniform.

    r_c = (flips_c + a r) / (n_c + a); t_cy = (flips_cy + b / (K - 1)) / (flips_c + b).
    """
    a, b = strengths
    K = len(found)
    flips = found - np.diag(np.diag(found))
    lost = flips.sum(axis=1)
    size = found.sum(axis=1)
    pooled = lost.sum() / max(size.sum(), 1e-300)
    rate = np.minimum((lost + a * pooled) / (size + a), _HIGHEST)
    targets = (flips + b / (K - 1)) / (lost + b)[:, None]
    np.fill_diagonal(targets, 0)
    matrix: np.ndarray = rate[:, None] * targets
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


def estimate(
    p: np.ndarray,
    ballots: Ballots,
    labels: np.ndarray,
    start: np.ndarray,
    strengths: tuple[float, float],
    steps: int,
) -> np.ndarray:
    """T after some EM steps for fixed p."""
    matrix = start
    if not ballots.complete:
        for _ in range(steps):
            q, _ = responsibilities(p, ballots.column(matrix, labels))
            matrix = maximise(counts(q, ballots, labels), strengths)
        return matrix
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    groups = np.split(p[order], starts[1:])
    for _ in range(steps):
        # Rows of one observed label share a column t of T: the sum of p t / (p . t) is t times that of p / (p . t).
        found = np.zeros_like(matrix)
        for y, mine in zip(present, groups, strict=True):
            column = matrix[:, y]
            found[:, y] = column * ((1 / np.maximum(mine @ column, 1e-300)) @ mine)
        matrix = maximise(found, strengths)
    return matrix


def choose_strengths(
    p: np.ndarray,
    ballots: Ballots,
    labels: np.ndarray,
    half: np.ndarray,
    start: np.ndarray,
    doubt: float = 1.0,
    steps: int = 15,
) -> tuple[tuple[float, float], float]:
    """(a, b) by the held-out likelihood of the observed labels in two halves: the simplest within one standard error.

    Also by how many standard errors the best is ahead of equal errors of all classes.
    ``half`` (N,) of 0 and 1; ``doubt``: errors follow pairs of classes only where equal ones of all are
    further behind than so many standard errors.
    """
    gains = []
    first, second = np.flatnonzero(half == 0), np.flatnonzero(half == 1)
    parts = ((first, second), (second, first))
    begin = opened(start, labels)
    for strengths in STRENGTHS:
        held = np.empty(len(labels))
        for fit, other in parts:
            matrix = estimate(p[fit], ballots.take(fit), labels[fit], begin, strengths, steps)
            held[other] = responsibilities(p[other], ballots.take(other).column(matrix, labels[other]))[1]
        gains.append(held)

    def behind(gain: np.ndarray, best: np.ndarray) -> float:
        difference = best - gain
        return float(difference.sum()) / max(float(difference.std() * np.sqrt(len(labels))), 1e-12)

    order = np.argsort([-gain.sum() for gain in gains], kind="stable").tolist()
    best = gains[order[0]]
    ahead = behind(gains[0], best)
    if ahead <= doubt:
        best = gains[next(number for number in order if is_uniform(STRENGTHS[number]))]
    return next(one for one, gain in zip(STRENGTHS, gains, strict=True) if behind(gain, best) <= 1), ahead


def is_uniform(strengths: tuple[float, float]) -> bool:
    """Whether the model lets errors follow no class pairs."""
    return strengths[1] >= 1e9
