"""What each expert's vote counts and how labels go wrong, found together from the observed labels."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury import noise
from glitchtrace.detectors.jury.ballots import Ballots

BIAS_PENALTY, WEIGHT_PENALTY = 1e-3, 1e-4
# Scale of a normal prior on the sum of the weights (experts have deviation 1).  Where few rows show the classes to be
# easy, the likelihood alone drives the weights without bound (separation), and the noise takes in what the experts get
# wrong; many rows outweigh it.
STEEPEST = 4.0
ROUNDS, WEIGHT_STEPS, NOISE_STEPS = 30, 10, 8
_UNIFORM_ROUNDS, _CHOICE_ROUNDS = 3, (3, 10)
# Standard errors by which errors between classes are plain; they are tried with fewer, and kept only with so many.
_PLAIN = 2.8
_DOUBTS = (1.0, _PLAIN)
_TOLERANCE = 1e-4
_NEXT_TO_NONE = 1e-12
_FIT_ROWS = 20_000  # rows that decide weights and noise; more are thinned


@dataclass(frozen=True)
class Pool:
    """Weights, bias and noise: p_i(c) ~ exp(sum_e w_e z_ei(c) + b_c), observed label y with T[c, y].

    ``weights`` (E,), ``bias`` (K,), ``noise`` T (K, K), ``strengths`` of its shrinkage, ``validation_flip``: the share
    of wrong validation labels, None without such rows; ``objective``: its path over the rounds.
    """

    weights: np.ndarray
    bias: np.ndarray
    noise: np.ndarray
    strengths: tuple[float, float]
    validation_flip: float | None
    objective: tuple[float, ...] = ()

    @property
    def uniform(self) -> bool:
        """Whether errors are taken to follow no class pairs."""
        return noise.is_uniform(self.strengths)

    def rate(self, labels: np.ndarray) -> float:
        """The mean flip rate, each class by its share of the ``labels``."""
        return noise.flip_rate(self.noise, labels)

    def lift(self, rate: float, labels: np.ndarray) -> float:
        """The log of the factor that takes the mean flip rate up to ``rate``, or 0."""
        flips = self.noise.copy()  # 1 less the diagonal would lose a rate of next to nothing
        np.fill_diagonal(flips, 0)
        share = np.bincount(labels, minlength=len(flips)) / len(labels)
        return float(np.log(max(rate / max(share @ flips.sum(axis=1), 1e-300), 1.0)))

    def levelled(self, other: "Pool", labels: np.ndarray) -> "Pool":
        """The pool with the flip rate of another one: I + s (T - I)."""
        s = max(other.rate(labels), _NEXT_TO_NONE) / max(self.rate(labels), _NEXT_TO_NONE)
        return replace(self, noise=noise.scaled(self.noise, s))

    def posterior(self, ballots: Ballots) -> np.ndarray:
        """P (N, C): the experts' belief, before the observed label."""
        result: np.ndarray = np.exp(ballots.log_posterior(self.weights, self.bias))
        return result

    def judged(self, ballots: Ballots, labels: np.ndarray) -> np.ndarray:
        """Q (N, C) ~ p_i(c) T[c, y_i]: the belief after the observed label."""
        return noise.responsibilities(self.posterior(ballots), ballots.column(self.noise, labels))[0]

    def log_odds(self, ballots: Ballots, labels: np.ndarray) -> np.ndarray:
        """Log sum_{c != y} p(c) T[c, y] - log p(y) T[y, y] (N,)."""
        return log_odds(self.posterior(ballots), ballots, labels, self.noise)


def log_odds(p: np.ndarray, ballots: Ballots, labels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The log odds that the observed label is wrong (N,), for given p (N, C) and T (K, K)."""
    joint = p * ballots.column(matrix, labels)
    place = ballots.place(labels)
    index = np.arange(len(labels))
    right = np.where(place >= 0, joint[index, place], 0)
    joint[index[place >= 0], place[place >= 0]] = 0
    odds: np.ndarray = np.log(np.maximum(joint.sum(axis=1), 1e-300)) - np.log(np.maximum(right, 1e-300))
    return odds


def fit_pool(
    ballots: Ballots,
    labels: np.ndarray,
    training: int,
    *,
    seed: int = 0,
    start: Pool | None = None,
    strengths: tuple[float, float] | None = None,
    only_validation: bool = False,
    reopen: bool = False,
    rounds: int = ROUNDS,
) -> Pool:
    """Maximise the likelihood of the observed labels over weights, bias, T and the flip rate of validation labels.

    L = mean over training rows of log sum_c p(c) T[c, y], and over validation rows with V for T
    - 1e-3 |b|² - 1e-4 |log w|² - (sum_e w_e)² / (32 N). L-BFGS steps for (log w, b) and EM steps for T and V take
    turns until the mean flip rate moves by less than 1e-4; a turn that the shrinkage made worse is kept, but it is rare
    and small.

    Parameters
    ----------
    ballots
        All N rows, the ``training`` first.
    labels, training
        Observed labels (N,), and n.
    seed
        Decides the halves that choose the shrinkage, and the rows that decide where there are many.
    start
        A pool to start from, with weights of the first experts.
    strengths
        Shrinkage of T; chosen by held-out likelihood if not given.
    only_validation
        Take validation labels as right, and let them alone decide (w, b): the rule for a sure validation set.
    reopen
        Start T anew where errors between classes are chosen.
    rounds
        Turns at most.
    """
    E, N, _ = ballots.z.shape
    K = ballots.classes
    rows = _thin(N, training, K, seed)
    part = ballots.take(rows)
    y = labels[rows]
    n = int((rows < training).sum())
    train, held = part.take(slice(0, n)), part.take(slice(n, None))
    half = generator(seed, "jury halves").permutation(n) % 2
    log_weights = np.full(E, np.log(1.0 / E))
    bias = np.zeros(K)
    matrix = noise.uniform_matrix(min(0.3, 0.5 * (K - 1) / K), K)
    chosen = strengths or noise.UNIFORM
    if start is not None:
        known = len(start.weights)
        log_weights = np.r_[np.log(np.maximum(start.weights, 1e-4)), np.full(E - known, np.log(0.3 / E))]
        bias, matrix = start.bias.copy(), start.noise.copy()
        chosen = strengths or start.strengths
    wrong = (start.validation_flip if start is not None else 0.1) if len(rows) > n else None
    if only_validation and wrong is not None:
        wrong = 0.0
    path: list[float] = []
    rate = before = np.inf
    for turn in range(rounds):
        spread = None if wrong is None else noise.uniform_matrix(wrong, K)
        log_weights, bias, value = _fit_weights(
            part, y, n, matrix, spread, log_weights, bias, only_validation and len(rows) > n
        )
        path.append(-value)
        p = np.exp(part.log_posterior(np.exp(log_weights), bias))
        if start is None and strengths is None and turn in _CHOICE_ROUNDS:
            doubt = _DOUBTS[_CHOICE_ROUNDS.index(turn)]
            chosen, ahead = noise.choose_strengths(p[:n], train, y[:n], half, matrix, doubt)
            # Plain before anything was fitted to them, or asked for.
            if not noise.is_uniform(chosen) and (reopen or (ahead > _PLAIN and rate < noise.LEAST)):
                matrix = noise.opened(matrix, y[:n])
        current = noise.UNIFORM if start is None and strengths is None and turn < _UNIFORM_ROUNDS else chosen
        matrix = noise.estimate(p[:n], train, y[:n], matrix, current, NOISE_STEPS)
        if wrong is not None and not only_validation:
            for _ in range(NOISE_STEPS):
                q, _ = noise.responsibilities(p[n:], held.column(noise.uniform_matrix(wrong, K), y[n:]))
                place = held.place(y[n:])
                right = np.where(place >= 0, q[np.arange(len(q)), place], 0)
                wrong = float(min(1 - right.mean(), 0.95))
        q, _ = noise.responsibilities(p[:n], train.column(matrix, y[:n]))
        place = train.place(y[:n])
        rate = 1 - float(np.where(place >= 0, q[np.arange(n), place], 0).mean())
        if abs(rate - before) < _TOLERANCE and turn > max(_CHOICE_ROUNDS):
            break
        before = rate
    # A last step makes T and the weights agree on the rate.
    return Pool(np.exp(log_weights), bias, matrix, chosen, wrong, tuple(path))


def ranking_pool(pool: Pool, ballots: Ballots, labels: np.ndarray, training: int, seed: int = 0) -> Pool:
    """The pool to rank by: another one where ``pool`` has found next to no wrong label.

    Its first turns take errors for uniform, and where only a pair of classes has some, their rate falls to 0, which no
    EM step leaves.  ``reopen`` finds such pairs.  But where classes overlap it finds some in right labels too, hence it
    says which labels would be wrong, never how many.
    """
    if pool.rate(labels[:training]) >= noise.LEAST:
        return pool
    other = fit_pool(ballots, labels, training, seed=seed, reopen=True)
    return pool if other.uniform else other


def fitted_rows(N: int, training: int, classes: int) -> tuple[int, int]:
    """How many training rows, and validation rows, decide weights and noise."""
    limit = max(_FIT_ROWS, 30 * classes)
    return min(training, limit), min(N - training, limit)


def _thin(N: int, training: int, classes: int, seed: int) -> np.ndarray:
    rng = generator(seed, "jury pool rows")
    parts = []
    for first, count, some in zip(
        (0, training), (training, N - training), fitted_rows(N, training, classes), strict=True
    ):
        if count > some:
            parts.append(first + np.sort(rng.choice(count, some, replace=False)))
        else:
            parts.append(np.arange(first, first + count))
    return np.concatenate(parts)


def _fit_weights(
    ballots: Ballots,
    labels: np.ndarray,
    n: int,
    matrix: np.ndarray,
    spread: np.ndarray | None,
    log_weights: np.ndarray,
    bias: np.ndarray,
    only_validation: bool,
) -> tuple[np.ndarray, np.ndarray, float]:
    E = len(log_weights)
    N = len(labels)
    column = np.empty((N, ballots.z.shape[2]))
    column[:n] = ballots.take(slice(0, n)).column(matrix, labels[:n])
    if spread is not None:
        column[n:] = ballots.take(slice(n, None)).column(spread, labels[n:])
    used = slice(n, None) if only_validation else slice(0, None)
    some = ballots.take(used)
    # Rows come last: sums over the few labels then run along memory.
    column = np.ascontiguousarray(column[used].T)
    flat = np.ascontiguousarray(some.z.transpose(0, 2, 1)).reshape(E, -1)
    candidates = some.candidates.T
    count = column.shape[1]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        w = np.exp(parameters[:E])
        b = parameters[E:]
        p = (w.astype(np.float32) @ flat).astype(np.float64).reshape(column.shape)
        p += b[:, None] if some.complete else b[candidates]
        p -= p.max(axis=0)
        np.exp(p, out=p)
        p /= p.sum(axis=0)
        q = p * column
        told = np.maximum(q.sum(axis=0), 1e-300)
        q /= told
        p -= q
        gradient = np.empty_like(parameters)
        gradient[:E] = w * (flat @ p.ravel().astype(np.float32)) / count
        if some.complete:
            gradient[E:] = p.sum(axis=1) / count
        else:
            gradient[E:] = np.bincount(candidates.ravel(), p.ravel(), minlength=len(b)) / count
        value = -float(np.log(told).mean()) + BIAS_PENALTY * float(b @ b)
        value += WEIGHT_PENALTY * float(parameters[:E] @ parameters[:E])
        value += 0.5 * float(w.sum() / STEEPEST) ** 2 / count
        gradient[:E] += w * w.sum() / STEEPEST**2 / count
        gradient[E:] += 2 * BIAS_PENALTY * b
        gradient[:E] += 2 * WEIGHT_PENALTY * parameters[:E]
        return value, gradient

    bounds = [(-12.0, 6.0)] * E + [(None, None)] * len(bias)
    result = minimize(
        loss,
        np.r_[np.maximum(log_weights, -12), bias],
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": WEIGHT_STEPS},
    )
    return result.x[:E], result.x[E:], float(result.fun)


def loss_at_rate(
    pool: Pool, ballots: Ballots, labels: np.ndarray, training: int, rate: float | None, seed: int = 0
) -> tuple[float, int]:
    """The least loss over weights and bias where T has this flip rate and uniform targets, and the number of rows.

    ``rate`` None: under the T of the pool itself.  The loss is minus the mean penalised log likelihood.
    """
    K, N = ballots.classes, len(labels)
    rows = _thin(N, training, K, seed)
    matrix = pool.noise if rate is None else noise.uniform_matrix(rate, K)
    spread = None if pool.validation_flip is None else noise.uniform_matrix(pool.validation_flip, K)
    log_weights, bias = np.log(np.maximum(pool.weights, 1e-5)), pool.bias
    part, n = ballots.take(rows), int((rows < training).sum())
    value = np.inf
    for _ in range(2):
        log_weights, bias, value = _fit_weights(
            part, labels[rows], n, matrix, spread, log_weights, bias, False
        )
    return value, len(rows)
