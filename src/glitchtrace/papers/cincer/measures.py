"""What is measured on the clean test labels after every fit, and of the order of candidates."""

import numpy as np

CALIBRATION_BUCKETS = 3


def weighted_scores(truth: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[float, float, float]:
    """Precision, recall and F1 averaged over classes by support; 0 for what is undefined."""
    table = np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    right, support, flagged = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    precision = _ratio(right, flagged)
    recall = _ratio(right, support)
    f1 = _ratio(2 * right, support + flagged)
    weights = support / support.sum()
    return float(weights @ precision), float(weights @ recall), float(weights @ f1)


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error over buckets of equal mass of the largest probability.

    Edges are the samples nearest to the quantiles at 0, 1/3, 2/3 and 1, each the first of its bucket:
    Σ_b n_b/N |accuracy_b − mean confidence_b|.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    edges = np.quantile(confidence, np.linspace(0, 1, CALIBRATION_BUCKETS + 1), method="nearest")
    bucket = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, CALIBRATION_BUCKETS - 1)
    error = 0.0
    for number in range(CALIBRATION_BUCKETS):
        chosen = bucket == number
        if chosen.any():
            error += chosen.mean() * abs(right[chosen].mean() - confidence[chosen].mean())
    return float(error)


def precision_at(wrong: np.ndarray, k: int, *, available: bool = False) -> float:
    """Share of wrong labels among the first ``k`` candidates; ``wrong`` (n,) is in their order.

    The divisor is k, also where there are fewer candidates, as published; with ``available`` it is min(k, n).
    NaN without candidates.
    """
    if not len(wrong):
        return float("nan")
    return float(wrong[:k].sum() / (min(k, len(wrong)) if available else k))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
