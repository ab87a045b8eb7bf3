"""A set of flags of which at most a stated share is false, or none at all."""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.stats import betabinom, poisson

from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury import noise
from glitchtrace.detectors.jury.ballots import Ballots
from glitchtrace.detectors.jury.pool import BIAS_PENALTY, STEEPEST, WEIGHT_PENALTY, Pool, fitted_rows

MISS = 0.05  # how often the promise may fail
ONE_SIDED = 1.645
_FLOOR = 1e-4
_SIZES = 25
# Below so many rows the pool is surer than it should be, and only validation rows can notice: on 380 rows of breast
# cancer the promise failed in half of the runs without them, in none with them.
FEWEST = 1000
DRAWS = 32  # of weights and bias, over which a promise is averaged
HALF = 0.5  # a label more likely right than wrong is not flagged to fill what a promise allows
# Of what the experts confuse, where there are two classes, so much has nothing to do with how sure they are; it
# sets in as their doubt rises through these shares.
ODD, DOUBTFUL = 0.15, (0.09, 0.1)
# Of what T says of a pair of classes beyond uniform errors, so much is believed.
PAIRED = 0.25
# Of the entropy of the labels: with a larger loss the experts say no more than the shares of the classes do.
LEARNABLE = 0.98


@dataclass(frozen=True)
class Scale:
    """The profile of the likelihood over s, which multiplies the off-diagonal of T; 1 is the estimate.

    ``error``: its standard error; ``slope`` (E + K,): how (log w, b) moves along the profile, per unit of s;
    ``spread`` (E + K, E + K): a root of the covariance of (log w, b) for given s; ``loss``: minus the mean log
    likelihood of the training labels, as a share of their entropy.
    """

    error: float
    slope: np.ndarray
    spread: np.ndarray
    loss: float

    def lower(self) -> float:
        """The lower 95 % limit of s."""
        return max(0.0, 1 - ONE_SIDED * self.error)


def profile(pool: Pool, ballots: Ballots, labels: np.ndarray, training: int, block: int = 4096) -> Scale:
    """The standard error of s from the outer product of the rows' scores, profiled over the pool.

    Information: J'J + N diag(2e-4, 2e-3, 0) + w w' / 16 for (log w, b, s); validation rows, if any, tell of (log w, b)
    only.  Where the pool was fitted on a part of the rows, J'J counts as that part does.
    """
    E, N, _ = ballots.z.shape
    K = ballots.classes
    J = np.zeros((E + K + 1, E + K + 1))
    own_rows, held_rows = fitted_rows(N, training, K)
    likelihood = 0.0
    spread = noise.uniform_matrix(pool.validation_flip, K) if pool.validation_flip is not None else None
    cuts = sorted({*range(0, N, block), training, N})
    for part in (slice(start, stop) for start, stop in itertools.pairwise(cuts)):
        some = ballots.take(part)
        y = labels[part]
        own = part.start < training
        matrix = pool.noise if own else spread
        assert matrix is not None
        p = pool.posterior(some)
        column = some.column(matrix, y)
        q, told = noise.responsibilities(p, column)
        gap = q - p
        likelihood += float(told.sum()) if own else 0.0
        rows = np.zeros((len(y), E + K + 1))
        rows[:, :E] = np.einsum("enc,nc->ne", some.z, gap.astype(np.float32)) * pool.weights
        if some.complete:
            rows[:, E : E + K] = gap
        else:
            np.put_along_axis(rows[:, E : E + K], some.candidates.astype(np.int64), gap, axis=1)
        if own:
            place = some.place(y)
            slope = column.copy()
            slope[np.arange(len(y)), place] -= 1
            rows[:, -1] = (p * slope).sum(axis=1) / np.maximum((p * column).sum(axis=1), 1e-300)
        J += rows.T @ rows * (own_rows / training if own else held_rows / (N - training))
    J[np.diag_indices(E + K)] += (own_rows + held_rows) * np.r_[
        np.full(E, 2 * WEIGHT_PENALTY), np.full(K, 2 * BIAS_PENALTY)
    ]
    J[:E, :E] += np.outer(pool.weights, pool.weights) / STEEPEST**2
    solved = np.linalg.solve(J[:-1, :-1], J[:-1, -1])
    information = J[-1, -1] - J[-1, :-1] @ solved
    error = float(1 / np.sqrt(information)) if information > 1e-12 else np.inf
    root = np.linalg.inv(np.linalg.cholesky(J[:-1, :-1])).T
    share = np.bincount(labels[:training], minlength=K) / training
    entropy = -float((share[share > 0] * np.log(share[share > 0])).sum())
    return Scale(error, -solved, root, -likelihood / training / max(entropy, 1e-12))


def with_odd(p: np.ndarray) -> np.ndarray:
    """P (N, 2) with right labels that look wrong however sure the experts are: (1 - o) p + o p C.

    C[a, c] = sum_i p_i(a) p_i(c) / sum_i p_i(a): what the experts confuse.  Of two classes a wrong label is the other
    one, and so is an odd right one: no likelihood of the labels tells them apart, as the targets do of more classes.
    o rises from 0 to ODD as the experts' mean doubt 1 - max p rises through DOUBTFUL: where they are hardly ever in
    doubt, odd labels are few.
    """
    low, high = DOUBTFUL
    doubt = float(1 - p.max(axis=1).mean())
    o = ODD * min(max((doubt - low) / (high - low), 0.0), 1.0)
    confused = p.T @ p / np.maximum(p.sum(axis=0), 1e-300)[:, None]
    result: np.ndarray = (1 - o) * p + o * (p @ confused)
    return result


def odd_share(p: np.ndarray) -> float:
    """The share of rows (N, 2) that ``with_odd`` adds: so many labels that look wrong may be right."""
    return 0.5 * float(np.abs(with_odd(p) - p).sum(axis=1).mean())


def weakened(matrix: np.ndarray) -> np.ndarray:
    """T (K, K) that trusts a pair of classes by PAIRED only: the smaller of T and PAIRED T + (1 - PAIRED) uniform.

    Right labels at an ambiguous border look like errors between its classes, and T takes them in.
    """
    lost = 1 - np.diag(matrix)
    uniform = np.repeat(lost[:, None] / (len(matrix) - 1), len(matrix), axis=1)
    result: np.ndarray = np.minimum(matrix, PAIRED * matrix + (1 - PAIRED) * uniform)
    np.fill_diagonal(result, np.diag(matrix))
    return result


def paired_steps(width: int) -> np.ndarray:
    """Standard normal steps (DRAWS, width), each beside its opposite, the same in every run: a fixed quadrature."""
    steps = generator(0, "jury promise").normal(size=(DRAWS // 2, width))
    return np.concatenate([steps, -steps])


def right_probabilities(
    pool: Pool, scale: Scale, ballots: Ballots, labels: np.ndarray, s: float | None = None
) -> np.ndarray:
    """Each label's posterior of being right (DRAWS, N) under the smallest noise that the data allow.

    Draws of (log w, b) around the profile at s = 1 - 1.645 error tell how sure the pool itself is; p is not below
    1e-4 / K.  T is ``weakened`` where errors seem to follow pairs of classes.
    """
    E, K = len(pool.weights), ballots.classes
    low = scale.lower() if s is None else s
    if low <= 0:
        return np.ones((1, len(labels)), dtype=np.float32)
    column = ballots.column(noise.scaled(pool.noise if pool.uniform else weakened(pool.noise), low), labels)
    place = ballots.place(labels)
    index = np.arange(len(labels))
    result = np.empty((DRAWS, len(labels)), dtype=np.float32)
    for number, step in enumerate(paired_steps(E + K)):
        move = scale.slope * (low - 1) + scale.spread @ step
        # A step along a tangent: not longer than doubles or halves a weight.
        weights = pool.weights * np.exp(np.clip(move[:E], -np.log(2), np.log(2)))
        p = np.maximum(np.exp(ballots.log_posterior(weights, pool.bias + move[E:])), _FLOOR / K)
        p /= p.sum(axis=1, keepdims=True)
        q, _ = noise.responsibilities(with_odd(p) if K == 2 else p, column)
        result[number] = np.where(place >= 0, q[index, place], 0.0)
    return result


def largest_by_posterior(right: np.ndarray, max_false: float) -> int:
    """The largest R of rows more likely wrong than right whose false flags are at most max_false R in 95 of 100 cases.

    ``right`` (n,), or (draws, n) of equal weight: the mean over the draws of Poisson_cdf(floor(max_false R); sum of l
    over the R rows with the smallest mean l) is at least 0.95.
    """
    right = np.atleast_2d(right)
    mean = right.mean(axis=0)
    order = np.argsort(mean, kind="stable")[: int((mean < HALF).sum())]
    sizes = np.arange(1, len(order) + 1)
    allowed = np.floor(max_false * sizes + 1e-9)
    chance = np.zeros(len(order))
    for each in right:
        # Below one allowed error the sum itself has to be small, which the same formula says.
        chance += poisson.cdf(allowed, np.cumsum(each[order], dtype=np.float64)) / len(right)
    kept = chance >= 1 - MISS
    return int(sizes[kept][-1]) if kept.any() else 0


def largest_by_validation(right: np.ndarray, validation: np.ndarray, max_false: float) -> int:
    """The largest R of 25 geometric steps whose number of false flags, told by validation rows, stays allowed.

    V0: validation rows judged as training rows whose l is not above the R-th smallest; the 95 % point of
    BetaBinomial(n, V0 + 1, m - V0) is at most max_false R.  Right whatever errors follow, but for what T, which has
    seen the labels of the training rows alone, owes to each: little where a pair of classes has many rows.
    """
    n, m = len(right), len(validation)
    if not n or not m:
        return 0
    ordered = np.sort(right)
    best = 0
    for size in np.unique(np.geomspace(1, n, _SIZES).astype(int)):
        hit = int((validation <= ordered[size - 1]).sum())
        if hit >= m:
            break
        if betabinom.ppf(1 - MISS, n, hit + 1, m - hit) <= max_false * size:
            best = int(size)
    return best


def uncontradicted(right: np.ndarray, validation: np.ndarray, size: int, max_false: float) -> int:
    """The largest R up to ``size`` whose false flags, as the share of validation rows tells them, stay allowed.

    V0(R) n / m <= max_false R, V0 as in ``largest_by_validation``: an estimate, not a bound; it can only lower R.
    """
    if not size:
        return 0
    ordered = np.sort(right)[:size]
    hits = np.searchsorted(np.sort(validation), ordered, side="right")
    sizes = np.arange(1, size + 1)
    kept = hits * len(right) / len(validation) <= max_false * sizes
    return int(sizes[kept][-1]) if kept.any() else 0


@dataclass(frozen=True)
class Promise:
    """Which rows are flagged under "at most ``max_false`` of them are false", how, and on what condition.

    ``flagged`` (n,) bool; ``rule``: "posterior", "validation counts" or "none"; ``conditional``: whether it rests on
    an assumption that the data could not check; ``words``: all of it in one or two sentences.
    """

    max_false: float
    flagged: np.ndarray
    rule: str
    conditional: bool
    words: str


def make_promise(
    pool: Pool, ballots: Ballots, labels: np.ndarray, training: int, max_false: float
) -> tuple[Promise, Scale]:
    """The flags of the training rows by the rule for what is known: section "Promise" of docs/methods/jury.md."""
    scale = profile(pool, ballots, labels, training)
    draws = right_probabilities(pool, scale, ballots, labels)
    right = draws.mean(axis=0)
    own, held = right[:training], right[training:]
    # Labels that follow nothing, or follow the experts the wrong way round, as where whole groups are left out: where
    # they differ from what the experts believe says nothing about them.
    contradicted = noise.contradicted(pool.noise)
    told = scale.lower() > 0 and scale.loss < LEARNABLE and not contradicted
    by_posterior = largest_by_posterior(draws[:, :training], max_false) if told else 0
    if training < FEWEST and not len(held):
        by_posterior = 0
    size, rule, conditional, why = by_posterior, "posterior", False, ""
    if len(held):
        counted = largest_by_validation(own, held, max_false) if told else 0
        size = uncontradicted(own, held, by_posterior, max_false)
        if counted > size:
            size, rule = counted, "validation counts"
        follows = (
            "errors that follow no class pairs, which the training labels bear out"
            if pool.uniform
            else f"errors that follow class pairs at least {PAIRED:g} as much as they seem to"
        )
        why = (
            "told by the validation rows, whatever the errors follow; it rests on training and validation rows "
            "coming from one source, and on many rows for each pair of classes that errors follow"
            if rule == "validation counts"
            else f"it rests on {follows}, and the validation rows do not contradict it"
        )
    elif pool.uniform:
        why = (
            "conditional: errors follow no region of the data, and right labels that look wrong are rare; only "
            "validation rows could check that"
        )
        conditional = True
    else:
        why = (
            "conditional: errors seem to follow class pairs, and without validation rows overlapping classes look "
            "the same; give validation rows for a promise without this condition"
        )
        conditional = True
    flagged = np.zeros(training, dtype=bool)
    flagged[np.argsort(own, kind="stable")[:size]] = True
    share = f"{100 * max_false:g} %"
    if size:
        words = f"{size} rows are flagged; with 95 % certainty at most {share} of them are false; {why}."
    else:
        words, rule = f"Nothing can be flagged with the promise of at most {share} false ones.", "none"
        if scale.loss >= LEARNABLE:
            words += " The experts say no more of the labels than the shares of the classes do."
        elif contradicted:
            words += (
                " Experts that have not seen a row, its group or its equals take some class for another one more often "
                "than for itself: features and groups tell too little of the labels."
            )
        elif training < FEWEST:
            words += (
                f" Below {FEWEST:,} training rows it takes validation rows to keep it, and enough of them."
            )
        conditional = False
    return Promise(max_false, flagged, rule, conditional, words), scale
