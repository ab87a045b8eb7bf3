"""A threshold for an inspector, from the scores of arriving samples: the published search."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.papers.cincer.summary import KEYS, mean_and_error

# The threshold is part of the keys of a run, but no sample is asked about here.
RUN = [key for key in KEYS if key != "threshold"]


def find_threshold(scores: np.ndarray, ratio: float) -> float:
    """The score above which about half as many samples lie as labels are wrong.

    With m = ⌊n · ratio⌋ of n scores, the observed score t with the smallest |⌊m/2⌋ − #{scores > t}|; the lowest of
    equal ones.
    """
    ordered = np.sort(scores)
    above = len(ordered) - np.searchsorted(ordered, ordered, side="right")
    wanted = int(len(ordered) * ratio) // 2
    return float(ordered[np.abs(wanted - above).argmin()])


def arriving(traces: pd.DataFrame) -> pd.DataFrame:
    """Keys, ``repeat``, ``score`` and ``wrong`` of every sample that arrived with a finite score.

    ``traces``: runs whose loop does not ask.
    """
    ordered = traces.sort_values([*KEYS, "repeat", "iteration"])
    seen = ordered.groupby([*KEYS, "repeat"])["n_mistakes_seen"].diff()
    found = ordered.assign(score=ordered["suspiciousness"], wrong=seen == 1)
    found = found[(found["iteration"] > 0) & np.isfinite(found["score"])]
    return found[[*KEYS, "repeat", "score", "wrong"]]


def thresholds_by_run(scores: pd.DataFrame) -> Iterator[tuple[dict[str, Any], float, pd.DataFrame]]:
    """Keys, threshold and scores of each run, all repeats together; ``scores`` as ``arriving`` gives them."""
    for keys, run in scores.groupby(RUN, sort=True):
        names = dict(zip(RUN, keys, strict=True))
        yield names, find_threshold(run["score"].to_numpy(), _ratio(names)), run


def threshold_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per run: threshold of all repeats together, and mean and error of those of single repeats.

    ``suspicious``: share of samples above the threshold; ``precision``: share of wrong labels among them (NaN
    without any); ``recall``: share of the wrong labels that they are.
    """
    rows = []
    for names, threshold, run in thresholds_by_run(scores):
        single = [
            find_threshold(part["score"].to_numpy(), _ratio(names)) for _, part in run.groupby("repeat")
        ]
        mean, error = mean_and_error(np.array(single))
        above, wrong = run["score"] > threshold, run["wrong"]
        rows.append(
            {
                **names,
                "repeats": len(single),
                "samples": len(run),
                "threshold": threshold,
                "threshold_mean": mean,
                "threshold_error": error,
                "suspicious": float(above.mean()),
                "precision": float(wrong[above].mean()),
                "recall": float(above[wrong].mean()),
            }
        )
    return pd.DataFrame(rows)


def _ratio(names: dict[str, Any]) -> float:
    return 0.0 if names["ratio"] == "clean" else float(names["ratio"])
