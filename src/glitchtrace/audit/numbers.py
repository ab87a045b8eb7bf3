"""Which numbers are wrong: residuals of predictions out of fold, on a scale on which they are even.

The target is bent by a power until its usual values are symmetric.  With r the residual of a row and s its expected
size, which trees learn from the features and the prediction, a right value has the density f(r/s)/s, where f is a t
density of any freedom with a width on each side; a wrong one has a g(z) + (1 − a) c(z): the density of all values, or
far out.  The share of wrong values, a and f maximise the likelihood together.  Values found wrong do not teach: the
predictions are made once more without them.  No density holds a value that many rows share exactly, nor one far beyond
the reach of all others: ``set_apart`` finds both.  docs/audit.md says what the promise means and when it holds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glitchtrace.audit.judgement import promised
from glitchtrace.audit.learners import Learner, predict
from glitchtrace.audit.representation import Representation
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury.promise import DRAWS, ONE_SIDED, paired_steps

# The power makes these quantiles symmetric: wrong values, up to a tenth on one side, do not decide it.  At most it is a
# logarithm, or what lies far out would come near; the smaller its unit, the sooner it bends.
_MARKS, _POWERS, _MIDDLE_AT = (0.1, 0.25, 0.5, 0.75, 0.9), (0.0, 1.0), 3.0
_FAR = 10.0  # deviations: what lies farther out counts as that far
_TAUGHT = 3.0  # and teaches as this much
_QUARTILES = 1.349  # between those of a normal density, in deviations
_LEAST_SIZE = 0.1  # of the median residual
_SIZED = 60  # rows from which the sizes of residuals are learnt
_FITTED_ROWS = 20_000
_EVIDENT = 15.0  # log likelihood that wrong values must win: a heap of another shape than f wins some, too
_FREEDOM = (1.5, 60.0)
_MOST_WRONG = 0.95
# Normal priors of (logit of the share, shift, log widths, logit of the freedom, logit of a): middle and deviation.
_MIDDLE = np.array([0.0, 0.0, 0.0, 0.0, -3.5, 0.0])
_PRECISION = np.array([0.0, 1.0, 0.5, 0.5, 1.0, 0.25])
# For a promise right values have so much of the freedom: that few far ones among them looked wrong hid their tails.
_HEAVIER = 0.5
_BOUNDS = ((-12.0, 8.0), (-3.0, 3.0), (-5.0, 5.0), (-5.0, 5.0), (-8.0, 8.0), (-4.0, 4.0))
# A value that is shared sticks out from so many neighbours on each side, and then from others that do within so many.
_BESIDE, _ABOUT = 2, 10
_STEPS = 3.0  # within fewer of which half of all values lie, they are too coarse for a density
_BEYOND_CHANCE = 3.0  # deviations by which its count exceeds twice theirs
# How many times as far from the median as all others, and how often heavy tails may look so; spacings that tell.
_REACH, _CHANCE, _SPACINGS = 3.0, 1e-3, (10, 100)
# The features tell of far values where they order so many pairs of a far and another one, and not by chance.
_TOLD, _TOLD_LEVEL = 0.8, 1e-3
_STARTS = tuple((share, freedom) for share in (-3.0, -6.0) for freedom in (-3.0, 0.0))


@dataclass(frozen=True)
class Even:
    """A power (Yeo and Johnson) and a scale by which usual values become symmetric, with middle 0 and deviation 1.

    x = (y − ``origin``) / ``unit`` points to the longer tail; then z = (bent x − ``centre``) / ``width``.
    """

    origin: float
    unit: float
    power: Any
    centre: float
    width: float

    @classmethod
    def fit(cls, y: np.ndarray) -> "Even":
        """From values (n,), not all of them equal."""
        from scipy.optimize import brentq
        from scipy.stats import yeojohnson
        from sklearn.preprocessing import PowerTransformer

        marks = np.quantile(y, _MARKS)
        spread = float(marks[3] - marks[1]) or float(y.std())
        if marks[0] + marks[4] < 2 * marks[2]:
            marks = marks[::-1]
        origin = float(marks[0])
        unit = float(marks[2] - marks[0]) / _MIDDLE_AT or np.copysign(spread, marks[4] - marks[0])

        def lean(power: float) -> float:
            z = yeojohnson((marks - origin) / unit, power)
            return float(sum((z[4 - i] + z[i] - 2 * z[2]) / max(z[4 - i] - z[i], 1e-12) for i in (0, 1)))

        low, high = _POWERS
        power = (
            low if lean(low) >= 0 else high if lean(high) <= 0 else float(brentq(lean, low, high, xtol=1e-6))
        )
        bend = PowerTransformer(standardize=False).fit(np.zeros((2, 1)))
        bend.lambdas_ = np.array([power])
        z = bend.transform(((y - origin) / unit)[:, None])[:, 0]
        width = float(np.subtract(*np.quantile(z, (0.75, 0.25)))) / _QUARTILES
        return cls(origin, float(unit), bend, float(np.median(z)), width or float(z.std()))

    def of(self, y: np.ndarray) -> np.ndarray:
        """Values on the even scale (n,), within ``_FAR``."""
        with np.errstate(over="ignore"):
            x = np.clip((y - self.origin) / self.unit, -1e100, 1e100)
        bent = self.power.transform(x[:, None])[:, 0]
        result: np.ndarray = np.clip((bent - self.centre) / self.width, -_FAR, _FAR)
        return result

    @staticmethod
    def taught(z: np.ndarray) -> np.ndarray:
        """Values on the even scale as learners are taught them: what is far out pulls no more than its side."""
        return np.asarray(np.clip(z, -_TAUGHT, _TAUGHT))

    def back(self, z: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Predictions z in the unit of the values y, and within them."""
        known = self.of(y)
        bent = np.clip(z, known.min(), known.max()) * self.width + self.centre
        result: np.ndarray = self.power.inverse_transform(bent[:, None])[:, 0] * self.unit + self.origin
        return np.asarray(np.clip(result, y.min(), y.max()))


def set_apart(y: np.ndarray, groups: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Masks of values (n,) that many rows share exactly, and of those far out, which may be shared as well.

    Rows of one of ``groups`` (n,) share a value for another reason and count once.  Zeros that many share are not far
    out, as they say that there is none.
    """
    shared = _shared(y, groups)
    rest = ~(shared & (y == 0))
    far = np.zeros(len(y), dtype=bool)
    far[rest] = _far_out(y[rest])
    for part in (far, ~far):  # neither hides what is shared in the other
        shared[part] = _shared(y[part], None if groups is None else groups[part])
    return shared, far


def _shared(y: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Whether more rows (n,) share a value than chance explains beside its neighbours, or the steps of a scale."""
    found, place = np.unique(y, return_inverse=True)
    counted = place if groups is None else np.unique(np.stack([place, groups], axis=1), axis=0)[:, 0]
    count = np.bincount(counted, minlength=len(found))
    # Where people round, many values stick out alike: such steps are finer than the scatter, and no shared value.
    peak = np.where(_exceeds(count, count, _BESIDE), count, 0)
    result: np.ndarray = (_exceeds(count, peak, _ABOUT) & (peak > 0))[place]
    return result


def _exceeds(count: np.ndarray, others: np.ndarray, reach: int) -> np.ndarray:
    """Whether counts (n,) are, beyond chance, more than twice the largest of the ``others`` within ``reach``."""
    padded = np.pad(others, reach)
    steps = [step for step in range(2 * reach + 1) if step != reach]
    most = np.max([padded[step : step + len(count)] for step in steps], axis=0)
    result: np.ndarray = count > 2 * most + _BEYOND_CHANCE * np.sqrt(most)
    return result & (count > 5)


def _step(y: np.ndarray) -> float:
    """The usual distance of values (n,) to the nearest other one: the step of counts, next to nothing of others."""
    found, place = np.unique(y, return_inverse=True)
    gap = np.r_[np.inf, np.diff(found), np.inf]
    return float(np.median(np.minimum(gap[:-1], gap[1:])[place])) if len(found) > 1 else 0.0


def coarse(y: np.ndarray) -> bool:
    """Whether the middle half of values (n,) lies within so few steps that they have no density to speak of."""
    low, high = np.quantile(y, (0.25, 0.75))
    return bool(high - low < _STEPS * _step(y) or high == low)


def _within_steps(y: np.ndarray, seed: int) -> np.ndarray:
    """Values (n,), each moved at random within its step, by half of it up or down.

    Counts and rounded values have no density, which would be the larger the nearer a prediction comes to their steps;
    what was moved has one (Dunn and Smyth 1996).
    """
    result: np.ndarray = y + _step(y) * generator(seed, "audit steps").uniform(-0.5, 0.5, len(y))
    return result


def on_even_scale(y: np.ndarray, far: np.ndarray, seed: int) -> tuple[Even, np.ndarray, np.ndarray]:
    """The even scale of values (n,) that are not ``far``; on it all, moved within their steps, and what is taught."""
    even = Even.fit(y[~far])
    return even, even.of(_within_steps(y, seed)), even.taught(even.of(y))


def _far_out(y: np.ndarray) -> np.ndarray:
    """Whether values (n,) lie farther from the median than the tail of the others reaches.

    With x_1 ≥ x_2 ≥ … the distances on one side, j log(x_j / x_j+1) of a Pareto tail of any index are independent and
    exponential (Rényi 1953), and lighter tails are shorter: the j farthest are far out where their spacing, over the
    mean of the next k, exceeds the F(2, 2 k) point.  Each j is tested at the whole chance: of tails so heavy that right
    values lie three times as far out as the next, more are called far than one test would call.
    """
    far = np.zeros(len(y), dtype=bool)
    if not len(y):
        return far
    middle = np.median(y)
    for sign in (-1, 1):
        distance = sign * (y / 2 - middle / 2)  # the halves do not overflow
        rows = np.flatnonzero(distance > 0)
        rows = rows[np.argsort(-distance[rows], kind="stable")]
        told = int(np.clip(len(rows) // 10, *_SPACINGS))
        logs = np.log(distance[rows])
        gap = logs[:-1] - logs[1:]
        spacing = np.arange(1, len(rows)) * gap
        for j in range(min(len(rows) // 2, len(rows) - 1 - told), 0, -1):
            if gap[j - 1] > np.log(_REACH):
                usual = max(float(spacing[j : j + told].mean()), 1e-12)
                if (1 + spacing[j - 1] / (told * usual)) ** -told < _CHANCE:
                    far[rows[:j]] = True
                    break
    return far


@dataclass(frozen=True)
class NumberJudgement:
    """What is believed of numeric targets (n,): as ``Judgement``, with the predicted numbers on the even scale."""

    wrong: np.ndarray
    score: np.ndarray
    predictions: np.ndarray
    flags: np.ndarray
    number: float
    low: float
    high: float
    condition: str


def judge_numbers(
    z: np.ndarray,
    views: Representation,
    predictions: Callable[[np.ndarray], np.ndarray],
    may_train: Callable[[int], np.ndarray],
    fold: np.ndarray,
    max_false: float,
    seed: int,
    shared: np.ndarray,
    far: np.ndarray,
) -> NumberJudgement:
    """Judge numbers on the even scale (n,).

    ``predictions``: a mask (n,) of the rows that may teach -> predictions (n,) out of fold; ``may_train``: the rows
    from which a fold may be judged.  Values ``far`` (n,) out are wrong, but where the features tell of them; of those
    that rows have ``shared`` (n,) the likelihood knows nothing.
    """
    near, taught = ~(far & shared), np.ones(len(z), dtype=bool)
    if far.any():
        told = _told(far, z, predictions(taught))
        near, taught, far = near & ~told, ~far, far & ~told
    for last in (False, True):
        found = predictions(taught)
        size = _sizes(views, found, np.abs(z - found), fold, may_train, taught, seed)
        terms = _Terms.of(z[near], found[near], size[near])
        theta = terms.fit(seed)
        wrong = terms.wrong(theta)
        if last or (wrong < 0.5).all() or (wrong >= 0.5).all():
            break
        taught = near & ~far
        taught[near] &= wrong < 0.5
    wrong, score, flags, (number, low, high) = _believed(terms, theta, max_false, seed)
    # What is surely wrong comes first, whatever the likelihood says of it, and is counted.
    sure, more = far[near], float((far & ~near).sum())
    number, low = max(number, float(sure.sum())), max(low, float(sure.sum()))
    best = score.max() + 1 if sure.any() else score.max()
    whole = np.where(far, 1 - _CHANCE, 0.0), np.where(far, best, score.min()), far.copy()
    whole[0][near] = np.where(sure, np.maximum(wrong, 1 - _CHANCE), wrong)
    whole[1][near] = np.where(sure, best, score)
    whole[2][near] |= flags
    return NumberJudgement(
        whole[0], whole[1], found, whole[2], number + more, low + more, max(high, number) + more,
        "It holds where right values scatter in one heap about what the features tell, as wide as they tell, and wrong "
        "ones lie anywhere among the values or far out.",
    )  # fmt: skip


def _believed(
    terms: "_Terms", theta: np.ndarray, max_false: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float, float]]:
    """How probably each row is wrong, its log odds and whether it is flagged (n,); how many are, with an interval."""
    some, rows, share = terms.some(seed), len(terms.residual), _share(theta)
    spread = np.linalg.pinv(some.information(theta))
    error = float(np.sqrt(max(spread[0, 0], 0.0))) * share * (1 - share / _MOST_WRONG)
    high = min(1.0, share + 1.96 * error) * rows
    cautious = share - ONE_SIDED * error
    wrong = terms.wrong(theta)
    none = terms.fit(seed, np.r_[_BOUNDS[0][0], theta[1:]])
    if some.told(theta) - some.told(none) < _EVIDENT:
        theta, wrong, share, cautious = none, terms.wrong(none), 0.0, 0.0
    score = terms.odds(theta)
    if cautious * rows < 0.5:
        return wrong, score, np.zeros(rows, dtype=bool), (share * rows, 0.0, high)
    held = terms.fit(seed, np.r_[np.log(cautious / (_MOST_WRONG - cautious)), theta[1:]], _HEAVIER)
    root = np.linalg.inv(np.linalg.cholesky(some.information(held)[1:, 1:])).T
    right = np.empty((DRAWS, rows), dtype=np.float32)
    for place, step in enumerate(paired_steps(len(held) - 1)):
        right[place] = 1 - terms.wrong(held + np.r_[0.0, np.clip(root @ step, -1, 1)])
    flags = promised(right, score, max_false)
    # A heap of another shape than f takes right values for wrong ones: those that are surely wrong are counted.
    number = float((1 - right.mean(axis=0)).sum())
    return wrong, score, flags, (number, min(number, (1 - max_false) * float(flags.sum())), high)


def _told(far: np.ndarray, z: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Whether values (n,) lie on a side whose ``far`` ones are predicted nearer to it than the others are."""
    from scipy.stats import mannwhitneyu

    result = np.zeros(len(z), dtype=bool)
    for sign in (-1, 1):
        side = sign * z > 0
        some = far & side
        if some.any():
            test = mannwhitneyu(sign * predictions[some], sign * predictions[~far], alternative="greater")
            pairs = test.statistic / (some.sum() * (~far).sum())
            result |= some & bool(pairs > _TOLD and test.pvalue < _TOLD_LEVEL)
    return result


def _sizes(
    views: Representation,
    predictions: np.ndarray,
    size: np.ndarray,
    fold: np.ndarray,
    may_train: Callable[[int], np.ndarray],
    taught: np.ndarray,
    seed: int,
) -> np.ndarray:
    """The expected size of each residual (n,), learnt out of fold."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    column = predictions[:, None].astype(np.float32)
    trees = None if views.trees is None else np.concatenate([views.trees, column], axis=1)
    seen = replace(views, lines=np.concatenate([views.lines, column], axis=1), trees=trees)
    learner = Learner(
        "sizes", "trees", "small gradient-boosted trees",
        lambda seed: HistGradientBoostingRegressor(
            max_iter=50, max_leaf_nodes=8, learning_rate=0.05, min_samples_leaf=30, early_stopping=False,
            random_state=seed,
        ),
    )  # fmt: skip
    logs = np.log(size + max(_LEAST_SIZE * float(np.median(size)), 1e-6))
    found = np.full(len(size), float(np.median(logs[taught])))
    for number in np.unique(fold):
        train, inside = np.flatnonzero(may_train(int(number)) & taught), np.flatnonzero(fold == number)
        if len(train) >= _SIZED:
            found[inside] = predict(learner, seen, logs, train, inside, 0, seed)
    result: np.ndarray = np.exp(found)
    return result


def _share(theta: np.ndarray) -> float:
    return float(_MOST_WRONG / (1 + np.exp(-theta[0])))


@dataclass(frozen=True)
class _Terms:
    """What the likelihood needs of each row: residual in units of its expected size, log of that size, g(z), c(z)."""

    residual: np.ndarray
    log_size: np.ndarray
    among: np.ndarray
    out: np.ndarray

    @classmethod
    def of(cls, z: np.ndarray, predictions: np.ndarray, size: np.ndarray) -> "_Terms":
        # g: a kernel density of a thousand quantiles; c: a Cauchy density.
        centres = np.quantile(z, np.linspace(0.0005, 0.9995, 1000))
        spread = float(centres.std()) or 1.0
        width = 1.06 * (min(spread, float(centres[750] - centres[250]) / _QUARTILES) or spread)
        width *= min(len(z), 1000) ** -0.2
        grid = np.linspace(centres[0] - 4 * width, centres[-1] + 4 * width, 512)
        density = np.exp(-0.5 * np.square((grid[:, None] - centres) / width)).mean(axis=1)
        among = np.interp(z, grid, density / (width * np.sqrt(2 * np.pi)), left=0, right=0)
        out = 1 / (np.pi * spread * (1 + np.square((z - np.median(z)) / spread)))
        return cls((z - predictions) / size, np.log(size), among, out)

    def some(self, seed: int) -> "_Terms":
        """The rows that decide, however many more there are."""
        n = len(self.residual)
        if n <= _FITTED_ROWS:
            return self
        rows = np.sort(generator(seed, "audit numbers").choice(n, _FITTED_ROWS, replace=False))
        return _Terms(self.residual[rows], self.log_size[rows], self.among[rows], self.out[rows])

    def parts(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log densities (n,) of a right and of a wrong value, times their shares."""
        from scipy.special import expit, gammaln

        left, right = np.exp(theta[2:4])
        freedom = _FREEDOM[0] + (_FREEDOM[1] - _FREEDOM[0]) * expit(theta[4])
        u = self.residual - theta[1]
        u = u / np.where(u < 0, left, right)
        peak = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(freedom * np.pi)
        near = (
            np.log(2 / (left + right)) + peak - (freedom + 1) / 2 * np.log1p(u * u / freedom) - self.log_size
        )
        a = expit(theta[5])
        far = np.log(a * self.among + (1 - a) * self.out)
        share = _share(theta)
        return np.log1p(-share) + near, np.log(share) + far

    def told(self, theta: np.ndarray) -> float:
        """The log likelihood of all values."""
        return float(np.logaddexp(*self.parts(theta)).sum())

    def odds(self, theta: np.ndarray) -> np.ndarray:
        """Log odds (n,) that a value is wrong."""
        right, wrong = self.parts(theta)
        result: np.ndarray = wrong - right
        return result

    def wrong(self, theta: np.ndarray) -> np.ndarray:
        """Probability (n,) that a value is wrong."""
        result: np.ndarray = 1 / (1 + np.exp(-np.clip(self.odds(theta), -500, 500)))
        return result

    def fit(self, seed: int, held: np.ndarray | None = None, freedom: float = 1.0) -> np.ndarray:
        """The parameters of the largest posterior.

        ``held``: keep its share of wrong values, and at most a part ``freedom`` of its freedom.
        """
        from scipy.optimize import minimize
        from scipy.special import expit, logit

        some, bounds, free = self.some(seed), list(_BOUNDS), slice(0, None)
        starts = [
            np.array([share, 0.0, np.log(1.2), np.log(1.2), freedom, 0.0]) for share, freedom in _STARTS
        ]
        if held is not None:
            if freedom < 1:
                bounds[4] = (bounds[4][0], max(float(logit(freedom * expit(held[4]))), bounds[4][0]))
            starts, free = [np.r_[held[:4], min(held[4], bounds[4][1]), held[5]]], slice(1, None)

        def loss(values: np.ndarray, start: np.ndarray) -> float:
            theta = np.r_[start[: free.start], values]
            return 0.5 * float(_PRECISION @ np.square(theta - _MIDDLE)) - some.told(theta)

        best: tuple[float, np.ndarray] | None = None
        for start in starts:
            found = minimize(loss, start[free], args=(start,), method="L-BFGS-B", bounds=bounds[free])
            if best is None or found.fun < best[0] - 1e-6:
                best = (float(found.fun), np.r_[start[: free.start], found.x])
        assert best is not None
        return best[1]

    def information(self, theta: np.ndarray, step: float = 1e-4) -> np.ndarray:
        """The outer product of the rows' scores, by differences, and the precision of the priors (6, 6)."""
        slopes = np.empty((len(self.residual), len(theta)))
        for place in range(len(theta)):
            move = step * np.eye(len(theta))[place]
            ahead, behind = (np.logaddexp(*self.parts(theta + sign * move)) for sign in (1, -1))
            slopes[:, place] = (ahead - behind) / (2 * step)
        result: np.ndarray = slopes.T @ slopes + np.diag(_PRECISION)
        return result
