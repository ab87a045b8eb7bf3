"""Stage functions of the influence: the matrix as a file of its own, and the class profiles; both streamed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import mapped_npy
from glitchtrace.influence.estimator import (
    Estimator,
    EstimatorInputs,
    Problem,
    complete_settings,
    counted_epochs,
)
from glitchtrace.influence.factors import load_factors
from glitchtrace.influence.profile import build_profiles, save_profiles


def compute_influence(
    *,
    factors: str | Path,
    checkpoints: str | Path,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    influence: str | Path,
    dataset: str,
    model: str,
    model_settings: Mapping[str, Any],
    estimator: str,
    settings: Mapping[str, Any],
    threads: int = 1,
    stored: Sequence[str | Path] = (),
    training: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Write the influence matrix J, (n, m) float32, as ``influence.npy``, block by block.

    ``estimator`` is a registered name and ``settings`` its settings; the closed form reads ``factors`` only,
    the others also ``checkpoints`` and the cell (``features`` of the sources, ``split``, ``glitch``,
    ``dataset``; for a frozen backbone ``stored``, the file of the stage ``extract_features``); an estimator that walks
    through the training takes ``training`` and ``seed``, those of the cell.  Raises
    GlitchtraceError for unreadable files, bad settings, and where memory runs out.
    """
    cell = _inputs(
        factors,
        checkpoints,
        features,
        split,
        glitch,
        dataset,
        model,
        model_settings,
        threads,
        stored,
        training and {**training, "seed": seed},
    )
    with _resources(estimator, settings, threads):
        opened = _open(estimator, cell, settings)
        shape = (len(cell.factors.train), len(cell.factors.validation))
        with mapped_npy(influence, shape=shape, dtype=np.float32) as matrix:
            for rows, block in opened.blocks():
                matrix[rows] = block


def profile_influence(
    *,
    factors: str | Path,
    checkpoints: str | Path,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    profile: str | Path,
    dataset: str,
    model: str,
    model_settings: Mapping[str, Any],
    estimator: str,
    settings: Mapping[str, Any],
    threads: int = 1,
    stored: Sequence[str | Path] = (),
    training: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Write the class profiles of the influence as ``profile.safetensors``; the matrix is never held.

    Arguments and errors as in ``compute_influence``.
    """
    cell = _inputs(
        factors,
        checkpoints,
        features,
        split,
        glitch,
        dataset,
        model,
        model_settings,
        threads,
        stored,
        training and {**training, "seed": seed},
    )
    complete = complete_settings(estimator, settings)
    with _resources(estimator, settings, threads):
        profiles = build_profiles(
            _open(estimator, cell, settings),
            cell.factors.train.labels,
            cell.factors.validation.labels,
            per_epoch=complete["per_epoch"],
            counterfactual_epochs=complete["counterfactual_epochs"],
            exclude_own_class=complete["exclude_own_class"],
            numbers=counted_epochs(cell, complete),
        )
    save_profiles(profiles, profile)


def _open(estimator: str, cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
    opened = registry.load("estimator", estimator).open_cell(cell, settings)
    if not isinstance(opened, Estimator):
        raise GlitchtraceError(
            f"{registry.place('estimator', estimator)}: open_cell returned {type(opened).__name__}; return an "
            "influence.estimator.Estimator"
        )
    return opened


def _inputs(
    factors: str | Path,
    checkpoints: str | Path,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    dataset: str,
    model: str,
    model_settings: Mapping[str, Any],
    threads: int,
    stored: Sequence[str | Path],
    training: Mapping[str, Any] | None,
) -> EstimatorInputs:
    def read_problem() -> Problem:
        import torch

        from glitchtrace.data.cells import load_cell
        from glitchtrace.training.checkpoints import read_checkpoints
        from glitchtrace.training.stage import build, view

        torch.set_num_threads(threads)
        cell = load_cell(
            features=features, split=split, glitch=glitch, dataset=dataset, view=view(model), stored=stored
        )
        network = build(cell, model, model_settings)
        return Problem(network, read_checkpoints(checkpoints), cell.train, cell.validation)

    return EstimatorInputs(lambda: load_factors(factors), read_problem, training)


@contextmanager
def _resources(estimator: str, settings: Mapping[str, Any], threads: int) -> Iterator[None]:
    """Limit the threads of numpy and torch, and say what to change where memory runs out."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    try:
        with threadpool_limits(threads):
            yield
    except (MemoryError, RuntimeError) as error:
        # torch raises a RuntimeError of its own where its CPU allocator fails.
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        complete = complete_settings(estimator, settings)
        key = "gradient_memory_mib" if complete.get("layers", "head") != "head" else "memory_mib"
        raise GlitchtraceError(
            f"out of memory; set estimators.{estimator}.{key} to {complete[key] / 2:g}, half of what it is"
        ) from error
