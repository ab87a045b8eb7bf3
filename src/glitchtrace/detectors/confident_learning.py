"""Confident learning: label errors from cross-validated probabilities, by the package cleanlab.

Source: Northcutt, Jiang, Chuang: Confident learning, JAIR 2021; docs/methods/detectors.md#confident-learning.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import files


def learn_confidently(
    *,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    confident: str | Path,
    dataset: str,
    model: str,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    evaluation_batch: int,
    device: str = "cpu",
    stored: Sequence[str | Path] = (),
) -> None:
    """Stage: write ``confident_learning.parquet``: sample, label, score, proposed label, and whether it is flagged.

    Arguments as in ``training.stage.train_cell``.  Raises GlitchtraceError as the training does.
    """
    from glitchtrace.data.cells import load_cell
    from glitchtrace.training.cross_fitting import cross_validate
    from glitchtrace.training.stage import view

    cell = load_cell(
        features=features, split=split, glitch=glitch, dataset=dataset, view=view(model), stored=stored
    )
    probabilities = cross_validate(
        cell,
        model=model,
        settings=settings,
        training=training,
        seed=seed,
        evaluation_batch=evaluation_batch,
        device=device,
    )
    files.write_parquet(confident_table(probabilities, cell.train_labels), confident)


def confident_table(probabilities: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """The verdict on each sample from out-of-sample probabilities (n, K) and observed labels (n,).

    ``score``: the probability that the observed label is wrong, 1 − p(label), higher = more suspicious;
    ``proposed_label``: the most probable class; ``flagged``: cleanlab's own choice, pruning by noise rate.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    # float64 rows that sum to one: cleanlab refuses the rounding of float32.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    # One process: a job has one thread.
    flagged = find_label_issues(labels, exact, filter_by="prune_by_noise_rate", n_jobs=1)
    return pd.DataFrame(
        {
            "sample": np.arange(len(labels)),
            "label": labels,
            "score": 1 - get_label_quality_scores(labels, exact, method="self_confidence"),
            "proposed_label": exact.argmax(axis=1),
            "flagged": flagged,
        }
    )
