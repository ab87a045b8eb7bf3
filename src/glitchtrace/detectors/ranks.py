"""Orders of scores with defined ties, the samples they flag, and what CNCI and PCID propose together."""

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.glitches.kinds import Kind


def ascending_ranks(scores: np.ndarray) -> np.ndarray:
    """Positions 0 … n−1 in ascending order of (score, index), int64: n−1 is the most suspicious.

    Infinite scores are ordered as numbers.  Raises GlitchtraceError for NaN, which has no place in an order.
    """
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(_ordered(scores), kind="stable")] = np.arange(len(scores))
    return ranks


def flag_top(scores: np.ndarray, count: int) -> np.ndarray:
    """Flags of the ``count`` highest scores, (n,) bool, by (score descending, index ascending).

    Exactly min(count, n) samples are flagged.  Raises GlitchtraceError for NaN.
    """
    flags = np.zeros(len(scores), dtype=bool)
    flags[most_suspicious(scores, count)] = True
    return flags


def most_suspicious(scores: np.ndarray, count: int) -> np.ndarray:
    """Positions of the ``count`` highest scores, (min(count, n),), by (score descending, index ascending).

    Raises GlitchtraceError for NaN.
    """
    return np.argsort(-_ordered(scores), kind="stable")[:count]


def verdicts(cnci: np.ndarray, pcid: np.ndarray) -> np.ndarray:
    """The kind each sample would be if it is a glitch, (n,) int8 of ``Kind``.

    Mislabelled where its rank by CNCI is at least its rank by PCID, else anomalous.  Source:
    docs/methods/signals.md#verdict.
    """
    mislabelled = ascending_ranks(cnci) >= ascending_ranks(pcid)
    return np.where(mislabelled, Kind.MISLABELLED, Kind.ANOMALOUS).astype(np.int8)


def _ordered(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if np.isnan(scores).any():
        raise GlitchtraceError(
            f"score {int(np.isnan(scores).argmax())} is NaN; scores must be numbers or infinite"
        )
    return scores
