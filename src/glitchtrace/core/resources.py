"""What jobs need, told before any data are read: MiB, as measured, and minutes, several times what was measured."""

import math
from collections.abc import Mapping
from typing import Any

from glitchtrace.core import configuration, grid, registry

# A backbone, a batch of pictures in it, and a shard of features.
EXTRACTION_MIB = 2500
FETCHING_MINUTES = 240
# What no job asks for more than on its first attempt; what each asks for at least.
DAY_MINUTES = 24 * 60
_LEAST = 60
# Seconds of one thread for a sample in an epoch of training, by what the model reads; for a picture in a backbone.
_TRAINING = {"vector": 0.002, "features": 0.002, "tokens": 0.02, "pictures": 0.1}
_EXTRACTION = 1.0


def fetching(dataset: str) -> int:
    """MiB of fetching a dataset."""
    card = registry.card("dataset", dataset)
    return int(card.get("memory_mib", 4000 if card["modality"] == "sparse" else 2000))


def training(dataset: str, model: str, settings: Mapping[str, Mapping[str, Any]]) -> int:
    """MiB of a training: torch, the data of the cell, and what the model's card says of its activations."""
    samples = sum(grid.sizes(dataset, settings["dataset"][dataset]))
    return 900 + int(registry.card("model", model).get("memory_mib", 0)) + int(samples * 0.03)


def influence(dataset: str, settings: Mapping[str, Mapping[str, Any]]) -> int:
    """MiB of an influence job: the factors and the blocks of the matrix."""
    return 400 + int(sum(grid.sizes(dataset, settings["dataset"][dataset])) * 0.01)


def training_minutes(
    dataset: str, model: str, settings: Mapping[str, Mapping[str, Any]], trainings: float = 1
) -> int:
    """Minutes to ask for where a job takes as long as so many trainings of a model on a dataset."""
    epochs = configuration.training_settings(settings["model"][model], dataset)["epochs"]
    each = _TRAINING[registry.card("model", model)["view"]]
    return _minutes(trainings * epochs * each * sum(grid.sizes(dataset, settings["dataset"][dataset])))


def influence_minutes(dataset: str, model: str, settings: Mapping[str, Mapping[str, Any]]) -> int:
    """Minutes to ask for where the influence of every class goes back through a training, the costliest estimator."""
    # A file of the user's own has as many classes as its labels say; ten are reckoned with before it is read.
    classes = registry.card("dataset", dataset)["classes"] or 10
    return training_minutes(dataset, model, settings, 1 + 2 * classes)


def extraction_minutes(dataset: str, settings: Mapping[str, Mapping[str, Any]]) -> int:
    """Minutes to ask for where every picture of a dataset passes once through a backbone."""
    return _minutes(_EXTRACTION * sum(grid.sizes(dataset, settings["dataset"][dataset])))


def _minutes(seconds: float) -> int:
    return min(DAY_MINUTES, _LEAST + math.ceil(seconds / 60))
