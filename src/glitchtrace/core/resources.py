"""What jobs need, told before any data are read: MiB, as measured, and minutes, several times what was measured."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from glitchtrace.core import grid, registry

# A backbone, a batch of pictures in it, and a shard of features.
EXTRACTION_MIB = 2500
FETCHING_MINUTES = 240
# What no job asks for more than on its first attempt; what each asks for at least.
DAY_MINUTES = 24 * 60
_LEAST = 60
# MiB of the imports of a stage; of a network that is more than a head; of the detectors beyond the signals, and for
# each of their rows.
_BASES = {"train": 650, "compute_influence": 50, "profile_influence": 52, "detect": 140, "repair": 140}
_NETWORK = 250
_FAMILIES, _FAMILIES_ROW = 1000, 0.1
# Inputs of the head by what the model reads, where no setting says so; models whose inputs of the head do not change.
_WIDTHS = {"features": 1280, "tokens": 192, "pictures": 64}
_FROZEN = ("linear", "logreg")
# What is asked for, as a multiple of the reckoned: peaks were measured up to 10 % above it.
_SPARE = 1.1
# Rows × classes × epochs up to which each checkpoint is profiled alone (influence.profile).
MOST_PER_EPOCH = 20_000_000
# Seconds of one thread for a sample in an epoch of training, by what the model reads; for a picture in a backbone.
_TRAINING = {"vector": 0.002, "features": 0.002, "tokens": 0.02, "pictures": 0.1}
_EXTRACTION = 1.0


def fetching(dataset: str) -> int:
    """MiB of fetching a dataset."""
    card = registry.card("dataset", dataset)
    return int(card.get("memory_mib", 4000 if card["modality"] == "sparse" else 2000))


def mib(
    stage: str,
    *,
    rows: int,
    validation: int,
    columns: int,
    classes: int,
    epochs: int,
    changing: bool = False,
    families: bool = False,
) -> int:
    """MiB of a stage of a cell: its imports, and the arrays that it holds at its peak.

    ``rows`` and ``validation``: samples; ``columns``: inputs of the head; ``changing``: whether training changes
    them; ``families``: whether detectors beyond the signals score.  Source: the sums of arrays in the stages, measured
    by ``benchmarks/memory.py``.
    """
    factors = 4 * (rows + validation) * (classes * epochs + columns * (epochs if changing else 1))
    table = 16 * rows * classes  # four class sums
    alone = epochs if rows * classes * epochs <= MOST_PER_EPOCH else 0
    if stage == "train":
        held = factors + 4 * rows * (2.9 * (columns + 2 * classes) + columns)
    elif stage == "compute_influence":
        held = factors + 4 * rows * validation
    elif stage == "profile_influence":
        held = factors + table * max(2 * alone + 2, alone + 4)
    else:
        held = factors + table * (alone + 3) + 16 * rows * classes
    found = math.ceil(_SPARE * (_BASES[stage] + held / 2**20))
    return found + (_FAMILIES + int(rows * _FAMILIES_ROW) if families else 0)


def training(
    dataset: str, model: str, settings: Mapping[str, Mapping[str, Any]], *, epochs: int | None = None
) -> int:
    """MiB of a training: torch, the data of the cell, its factors, and what the model's card says of activations.

    ``epochs``: whose factors are kept, by default all.
    """
    size = _size(dataset, model, settings)
    if epochs is not None:
        size["epochs"] = epochs
    card = registry.card("model", model)
    return (
        mib("train", **size) + int(card.get("memory_mib", 0)) + (0 if card["view"] == "vector" else _NETWORK)
    )


def influence(
    stage: str, dataset: str, model: str, estimator: str, settings: Mapping[str, Mapping[str, Any]]
) -> int:
    """MiB of an influence job: factors, blocks of the matrix or its profiles, and the network where it is passed."""
    size = _size(dataset, model, settings)
    found: int = mib(stage, **size)
    own = settings["estimator"][estimator]
    match registry.base_name(estimator):
        case "tracin" if own["layers"] == "head":
            return found
        case "influence_functions":  # one network layer: a Hessian and its factor
            hessian = 16 * (size["classes"] * (size["columns"] + 1)) ** 2 if own["solver"] == "direct" else 0
            return found + math.ceil(_SPARE * (float(own["memory_mib"]) + hessian / 2**20))
        case "metagradient":
            found += math.ceil(_SPARE * own["memory_mib"])
    return found + training(dataset, model, settings, epochs=1)


def detection(
    dataset: str, model: str, settings: Mapping[str, Mapping[str, Any]], detectors: Iterable[str]
) -> int:
    """MiB of scoring or repairing a cell: profiles, factors, and what detectors beyond the signals import and hold."""
    size = _size(dataset, model, settings)
    families = any(not registry.card("detector", name).get("default") for name in detectors)
    return mib("detect", families=families, **size)


def _size(dataset: str, model: str, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows, columns, classes and epochs of a cell, known before any data are read."""
    card, own = registry.card("dataset", dataset), settings["model"][model]
    rows, validation = grid.sizes(dataset, settings["dataset"][dataset])
    view = registry.card("model", model)["view"]
    widths = own.get("widths") or own.get("width") or _WIDTHS.get(view)
    hidden = widths[-1] if isinstance(widths, list) else widths
    columns = math.prod(card["shape"] or [100]) if view == "vector" else hidden
    return {
        "rows": rows,
        "validation": validation,
        "columns": max(int(columns or 0), int(hidden or 0)),
        "classes": card["classes"] or 10,
        "epochs": grid.training_settings(own, dataset)["epochs"],
        "changing": view != "features" and registry.base_name(model) not in _FROZEN,
    }


def training_minutes(
    dataset: str, model: str, settings: Mapping[str, Mapping[str, Any]], trainings: float = 1
) -> int:
    """Minutes to ask for where a job takes as long as so many trainings of a model on a dataset."""
    epochs = grid.training_settings(settings["model"][model], dataset)["epochs"]
    each = _TRAINING[registry.card("model", model)["view"]]
    return _minutes(trainings * epochs * each * sum(grid.sizes(dataset, settings["dataset"][dataset])))


def influence_minutes(
    dataset: str, model: str, estimator: str, settings: Mapping[str, Mapping[str, Any]]
) -> int:
    """Minutes to ask for where the influence of every class goes back through a training, the costliest estimator.

    The walks of a network, with its validation and its training samples, take at most what their setting lets them.
    """
    if _walks_network(model, estimator):
        return _minutes(60 * 2 * settings["estimator"][estimator]["most_minutes"])
    # A file of the user's own has as many classes as its labels say; ten are reckoned with before it is read.
    classes = registry.card("dataset", dataset)["classes"] or 10
    return training_minutes(dataset, model, settings, 1 + 2 * classes)


def _walks_network(model: str, estimator: str) -> bool:
    """Whether the metagradient goes through layers before the head."""
    frozen = registry.base_name(model) in _FROZEN or registry.card("model", model)["view"] == "features"
    return registry.base_name(estimator) == "metagradient" and not frozen


def extraction_minutes(dataset: str, settings: Mapping[str, Mapping[str, Any]]) -> int:
    """Minutes to ask for where every picture of a dataset passes once through a backbone."""
    return _minutes(_EXTRACTION * sum(grid.sizes(dataset, settings["dataset"][dataset])))


def _minutes(seconds: float) -> int:
    return min(DAY_MINUTES, _LEAST + math.ceil(seconds / 60))
