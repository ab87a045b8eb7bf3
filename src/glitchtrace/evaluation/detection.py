"""How well one score finds the glitches: F1 at the known ratio, the published rule, ranking quality.

Every measure takes ``scores`` (n,), higher = more suspicious, and ``glitch`` (n,) bool, and has no unit.
Infinite scores are legal; NaN is refused by ``check_scores``.  With no glitch, or with nothing but glitches,
there is nothing to separate: every measure is NaN.
"""

import math

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.ranks import flag_top

PRECISION_DEPTHS = (10, 50, 100)


def check_scores(signal: str, scores: np.ndarray) -> None:
    """Raise GlitchtraceError, naming the signal, where a score is NaN: it has no place in an order."""
    undefined = int(np.isnan(scores).sum())
    if undefined:
        raise GlitchtraceError(
            f"signal '{signal}' is NaN for {undefined} of {len(scores)} samples; a score is a number or ±inf"
        )


def separable(glitch: np.ndarray) -> bool:
    """Whether there are both glitches and other samples."""
    return 0 < int(glitch.sum()) < len(glitch)


def precision_recall_f1(flagged: np.ndarray, glitch: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 = 2 · hits / (flagged + glitches) of flags, bool (n,).

    Nothing flagged: precision is NaN, recall and F1 are 0.
    """
    if not separable(glitch):
        return math.nan, math.nan, math.nan
    hits, flags, glitches = int((flagged & glitch).sum()), int(flagged.sum()), int(glitch.sum())
    return (hits / flags if flags else math.nan), hits / glitches, 2 * hits / (flags + glitches)


def f1_known_ratio(scores: np.ndarray, glitch: np.ndarray) -> float:
    """F1 when exactly as many samples are flagged as there are glitches.

    The k = Σ glitch highest scores are flagged, by (score descending, index ascending), so that precision,
    recall and F1 are one number.  Source: docs/methods/evaluation.md#known-ratio.
    """
    return precision_recall_f1(flag_top(scores, int(glitch.sum())), glitch)[2]


def f1_published(scores: np.ndarray, glitch: np.ndarray, contamination: float | None = None) -> float:
    """F1 by the rule of the published code (``compat.f1_threshold``).

    The threshold is the score at 0-based position floor(q · n) of the descending order, and everything at or
    above it is flagged: one sample more than q · n, and all ties.  q is ``contamination``, by default the true
    share of glitches; the published anomaly pipeline used the ratio asked for, anomalies per clean sample.  The
    product is a floating one, as published: with 29 glitches in 100 it falls short of 29, and 29 are flagged.
    Source: docs/methods/evaluation.md#published-threshold.
    """
    if not separable(glitch):
        return math.nan
    share = float(np.mean(glitch)) if contamination is None else contamination
    position = min(math.floor(share * len(scores)), len(scores) - 1)
    threshold = np.sort(scores)[::-1][position]
    return precision_recall_f1(scores >= threshold, glitch)[2]


def f1_expected(scores: np.ndarray, glitch: np.ndarray) -> float:
    """Expected F1 at the known ratio when ties are broken at random.

    With k glitches and t the k-th highest score: (hits above t + places left · share of glitches among the
    samples that score t) / k.  Equal to ``f1_known_ratio`` where t is met once.
    """
    if not separable(glitch):
        return math.nan
    count = int(glitch.sum())
    threshold = np.sort(scores)[::-1][count - 1]
    above, tied = scores > threshold, scores == threshold
    return float((glitch[above].sum() + (count - above.sum()) * glitch[tied].mean()) / count)


def average_precision(scores: np.ndarray, glitch: np.ndarray) -> float:
    """Area under the step-wise precision-recall curve: Σ_g (recall_g − recall_{g−1}) · precision_g.

    g runs over the distinct scores from the highest down; tied samples enter together.
    """
    if not separable(glitch):
        return math.nan
    hits, others = _tied(scores, glitch)
    precision = hits.cumsum() / (hits + others).cumsum()
    return float((hits * precision).sum() / hits.sum())


def auroc(scores: np.ndarray, glitch: np.ndarray) -> float:
    """Probability that a glitch scores above another sample, ties counted half."""
    if not separable(glitch):
        return math.nan
    hits, others = _tied(scores, glitch)
    below = others.sum() - others.cumsum() + others / 2
    return float((hits * below).sum() / (hits.sum() * others.sum()))


def precision_at(scores: np.ndarray, glitch: np.ndarray, depth: int) -> float:
    """Share of glitches among the ``depth`` highest scores; NaN with fewer samples than that."""
    if not separable(glitch) or depth > len(scores):
        return math.nan
    return float(glitch[flag_top(scores, depth)].mean())


def _tied(scores: np.ndarray, glitch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of glitches and of other samples at each distinct score, the highest first."""
    _, group = np.unique(-scores, return_inverse=True)
    hits = np.bincount(group, weights=glitch)
    return hits, np.bincount(group) - hits


def detection_metrics(
    scores: np.ndarray, glitch: np.ndarray, contamination: float | None = None
) -> dict[str, float]:
    """All measures by the names of ``metrics.parquet``; ``contamination`` is that of ``f1_published``."""
    return {
        "f1": f1_known_ratio(scores, glitch),
        "f1_published": f1_published(scores, glitch, contamination),
        "f1_expected": f1_expected(scores, glitch),
        "auroc": auroc(scores, glitch),
        "average_precision": average_precision(scores, glitch),
        **{f"precision_at_{depth}": precision_at(scores, glitch, depth) for depth in PRECISION_DEPTHS},
    }
