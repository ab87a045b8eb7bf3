"""Out-of-sample predictions: what networks say of samples that they were not trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.seeding import generator
from glitchtrace.data.cells import CellData, load_cell
from glitchtrace.training.device import choose
from glitchtrace.training.evaluation import evaluate
from glitchtrace.training.stage import ChosenSamples, fit_cell, frozen_features, learner, shared_folder, view

FOLDS = 5


def folds_of(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold (n,) of each sample: shuffled within classes and dealt out in turn, so that folds are stratified."""
    rng = generator(seed, "cross-validation folds")
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    found = np.empty(len(labels), dtype=np.int64)
    found[order] = np.arange(len(labels)) % folds
    return found


def cross_validate(
    cell: CellData,
    *,
    model: str,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    evaluation_batch: int,
    device: str = "cpu",
    folds: int = FOLDS,
    shared: Path | None = None,
) -> np.ndarray:
    """Class probabilities (n, K) float32 of the training samples, each by a network trained without its fold.

    The networks begin with the same initial values and are trained as the cell's own, on the observed labels of
    the other folds.  ``shared``: the folder where cells leave to each other what labels do not change.

    Raises GlitchtraceError as ``training.stage.fit_cell``.
    """
    fold = folds_of(cell.train_labels, folds, seed)
    probabilities = np.empty((len(fold), cell.classes), dtype=np.float32)
    passed = frozen_features(cell, model, settings, evaluation_batch, device, shared)
    for number in range(folds):
        network = fit_cell(
            cell,
            cell.train_labels,
            fold != number,
            model=model,
            settings=settings,
            training=training,
            seed=seed,
            evaluation_batch=evaluation_batch,
            device=device,
            passed=passed,
        )
        rows = np.flatnonzero(fold == number)
        held_out = ChosenSamples(cell.train if passed is None else passed, rows)
        found = evaluate(
            network if passed is None else learner(network),
            held_out,
            batch_size=evaluation_batch,
            device=choose(device),
        )
        probabilities[rows] = found.probabilities
    return probabilities


def cross_fit(
    *,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    out_of_fold: str | Path,
    dataset: str,
    model: str,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    evaluation_batch: int,
    device: str = "cpu",
    stored: Sequence[str | Path] = (),
    share: bool = False,
) -> None:
    """Stage: write ``out_of_fold.safetensors``: ``probabilities`` (n, K) float32, ``labels`` and ``fold`` (n,) int64.

    Arguments as in ``training.stage.train_cell``.  Raises GlitchtraceError as the training does.
    """
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
        shared=shared_folder(features, split, glitch) if share else None,
    )
    fold = folds_of(cell.train_labels, FOLDS, seed)
    files.write_tensors(
        {"probabilities": probabilities, "labels": cell.train_labels, "fold": fold}, out_of_fold
    )
