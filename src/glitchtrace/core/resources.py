"""What jobs need, told before any data are read: MiB, as measured (docs/architecture.md).  Standard library only."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.core import grid, registry

# A backbone, a batch of pictures in it, and a shard of features.
EXTRACTION_MIB = 2500


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
