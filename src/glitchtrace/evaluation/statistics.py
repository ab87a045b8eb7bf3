"""Statistics over seeds: mean and interval, paired comparison, share of the oracle's gain."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator

CONFIDENCE = 0.95
RESAMPLES = 10_000
WILCOXON_MINIMUM = 6
# Differences below this share of the largest value are rounding: of shares of counts, such as accuracies and F1, equal
# differences come out unequal in their last bits, and a mean of 0 as 1e-17.
ROUNDING = 1e-10


@dataclass(frozen=True)
class Estimate:
    """A mean over ``count`` seeds with its standard deviation and its confidence interval."""

    count: int
    mean: float
    standard_deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of two methods: the difference first − second over seeds.

    ``p_value`` is that of the two-sided Wilcoxon signed-rank test, NaN with fewer than six seeds.
    """

    difference: Estimate
    p_value: float
    wins: int
    ties: int
    losses: int

    def columns(self) -> dict[str, float]:
        """The columns of a table of comparisons: seeds, difference with its interval, p-value, who won how often."""
        return {
            "count": self.difference.count,
            "difference": self.difference.mean,
            "low": self.difference.low,
            "high": self.difference.high,
            "p_value": self.p_value,
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
        }


@dataclass(frozen=True)
class Share:
    """A ratio of two mean gains with its bootstrap interval."""

    share: float
    low: float
    high: float


def estimate(values: np.ndarray, confidence: float = CONFIDENCE) -> Estimate:
    """Mean, standard deviation (denominator n − 1) and Student-t interval of the mean of ``values`` (n,).

    The interval is mean ± t_{n−1, (1 + confidence) / 2} · standard deviation / √n.  NaN values (a measure
    that is not defined for a seed) are left out, and ``count`` says how many remain; the mean of none is NaN,
    and so are the standard deviation and the interval of a single value.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    count = len(values)
    mean = float(values.mean()) if count else math.nan
    if count < 2:
        return Estimate(count, mean, math.nan, math.nan, math.nan)
    standard_deviation = float(values.std(ddof=1))
    half_width = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * standard_deviation / math.sqrt(count)
    return Estimate(count, mean, standard_deviation, mean - half_width, mean + half_width)


def compare(first: np.ndarray, second: np.ndarray, confidence: float = CONFIDENCE) -> Comparison:
    """Compare two methods seed by seed; ``first`` and ``second`` are (n,), entry by entry of the same seed.

    Pairs with a NaN on either side are left out.  Equal methods have p = 1.  Differences that rounding alone tells
    apart are ties, and a mean that is rounding alone is 0.  Raises GlitchtraceError where the lengths differ.
    """
    minuend, subtrahend = _paired(first, second)
    difference = minuend - subtrahend
    difference = difference[~np.isnan(difference)]
    step = rounding(minuend, subtrahend)
    found = estimate(difference, confidence)
    if abs(found.mean) < step:
        found = replace(found, mean=0.0)
    steps = np.rint(difference / step)
    return Comparison(
        found,
        _wilcoxon(steps),
        wins=int((steps > 0).sum()),
        ties=int((steps == 0).sum()),
        losses=int((steps < 0).sum()),
    )


def _wilcoxon(difference: np.ndarray) -> float:
    if len(difference) < WILCOXON_MINIMUM:
        return math.nan
    if not difference.any():
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)


def share_of_oracle_gain(
    none: np.ndarray,
    policy: np.ndarray,
    oracle: np.ndarray,
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Share:
    """How much of what perfect repair gains a policy gains: mean(policy − none) / mean(oracle − none).

    ``none``, ``policy`` and ``oracle`` are (n,) accuracies, entry by entry of the same seed.  The interval is
    the percentile bootstrap over seeds, all three drawn together.  A resample in which the oracle gains
    nothing has no ratio and leaves that side of the interval open: it counts as −inf for the lower end and as
    +inf for the upper. All NaN where the oracle gains nothing in the mean, and the interval alone with a
    single seed.  Raises GlitchtraceError where the lengths differ.
    """
    baseline, repaired, perfect = _paired(none, policy, oracle)
    gains = np.stack([repaired - baseline, perfect - baseline])
    gains = gains[:, ~np.isnan(gains).any(axis=0)]
    count = gains.shape[1]
    if count == 0:
        return Share(math.nan, math.nan, math.nan)
    step = rounding(baseline, perfect)
    means = gains.mean(axis=1)
    means[np.abs(means) < step] = 0.0
    if means[1] <= 0:
        return Share(math.nan, math.nan, math.nan)
    share = float(means[0] / means[1])
    if count == 1:
        return Share(share, math.nan, math.nan)
    draws = generator(seed, "share of the oracle's gain").integers(count, size=(RESAMPLES, count))
    policy_gain, oracle_gain = gains[:, draws].mean(axis=2)
    defined = oracle_gain >= step
    ratios = np.divide(policy_gain, oracle_gain, out=np.zeros(RESAMPLES), where=defined)
    # Order statistics, not interpolation: a quantile beside an infinite resample would be NaN.
    tail = (1 - confidence) / 2
    low = np.quantile(np.where(defined, ratios, -np.inf), tail, method="lower")
    high = np.quantile(np.where(defined, ratios, np.inf), 1 - tail, method="higher")
    return Share(share, float(low), float(high))


def rounding(*samples: np.ndarray) -> float:
    """The size below which a difference of these values is rounding; positive, even where all are 0 or missing."""
    sizes = np.abs(np.concatenate(samples))
    return ROUNDING * float(sizes.max(initial=0.0, where=np.isfinite(sizes))) or 1.0


def _paired(*samples: np.ndarray) -> list[np.ndarray]:
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if len({array.shape for array in arrays}) > 1:
        lengths = ", ".join(str(len(array)) for array in arrays)
        raise GlitchtraceError(
            f"a paired comparison needs the same seeds on every side; got {lengths} values"
        )
    return arrays
