"""Stages: the features of a cell's training and validation pictures, and of a split's test pictures.

Both add to one store per source and backbone, below ``<results>/features``, whose folder is named by a digest of
all that the features depend on: settings, code and weights.  Other cells, seeds, studies and variants of the model
that differ in training only find there what is at hand and pass only their new pictures through the backbone.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import files, provenance, registry
from glitchtrace.data import picture_identities as pictures
from glitchtrace.data.feature_store import FeatureStore, folder
from glitchtrace.data.sources import Sources
from glitchtrace.data.split import TEST, VALIDATION, rows_of
from glitchtrace.models.frozen import INCIDENTAL
from glitchtrace.training.device import choose
from glitchtrace.training.extraction import Extractor

# Pictures of the source, from its first row on, over which the deviation of an inexact precision is measured.
MEASURED = 16


def extract_features(
    *,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    stored: str | Path,
    model: str,
    settings: Mapping[str, Any],
    device: str = "cpu",
    weights: Sequence[str | Path] = (),
) -> None:
    """Have the features of a cell's training and validation pictures in the store; write ``stored``.

    ``features``: the stored pictures of the host and of foreign sources; ``settings``: those of the model;
    ``weights``: their local file, where they name one.  ``stored`` (JSON) names the store and says what its
    features are.  Raises GlitchtraceError for weights that cannot be had, exhausted memory, and a file system
    without locks; what was extracted until then is kept.
    """
    sources = Sources(features)
    validation = pictures.of_rows(sources.host, rows_of(files.read_parquet(split), VALIDATION))
    wanted = pd.concat([pictures.of_samples(files.read_parquet(glitch)), validation], ignore_index=True)
    _extract(sources, features, wanted, stored, model, settings, device, weights)


def extract_test_features(
    *,
    features: Sequence[str | Path],
    split: str | Path,
    stored: str | Path,
    model: str,
    settings: Mapping[str, Any],
    device: str = "cpu",
    weights: Sequence[str | Path] = (),
) -> None:
    """The same for the test pictures of a split, which only repaired cells need."""
    sources = Sources(features)
    wanted = pictures.of_rows(sources.host, rows_of(files.read_parquet(split), TEST))
    _extract(sources, features, wanted, stored, model, settings, device, weights)


def _extract(
    sources: Sources,
    features: Sequence[str | Path],
    wanted: pd.DataFrame,
    stored: str | Path,
    model: str,
    settings: Mapping[str, Any],
    device: str,
    weights: Sequence[str | Path],
) -> None:
    defining = _defining(model, settings, weights)
    digest = hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:12]
    name = f"{registry.base_name(model)}-{digest}"
    store = FeatureStore(folder(features[0], name), settings["shards"])
    extractor = Extractor(
        lambda: registry.load("model", model).backbone(settings),
        sources.samples,
        batch=settings["batch"],
        precision=settings["precision"],
        device=choose(device),
    )

    def describe() -> dict[str, Any]:
        described = {**defining, "width": extractor.width(), "deviation": 0.0}
        if settings["precision"] != "float32":
            described["deviation"] = extractor.deviation(pictures.of_rows(sources.host, np.arange(MEASURED)))
        return described

    store.describe(describe)
    added = store.fill(wanted, extractor.blocks)
    print(f"extracted {added} pictures; {len(wanted) - added} were at hand", file=sys.stderr)
    files.write_record({**store.description, "store": name, "shards": store.shards}, stored)


def _defining(model: str, settings: Mapping[str, Any], weights: Sequence[str | Path]) -> dict[str, Any]:
    """All that the features depend on beside the pictures themselves."""
    kept = {key: value for key, value in settings.items() if key not in INCIDENTAL}
    # Their content counts, not where they lie.
    for file in weights:
        with open(file, "rb") as stream:
            kept["weights"] = hashlib.file_digest(stream, "sha256").hexdigest()
    if settings["weights"] != "random":
        kept.pop("head_seed")
    code = provenance.fingerprint(
        f"model={registry.base_name(model)}",
        "glitchtrace.training.extraction",
        "glitchtrace.data.sources",
    )
    return {"settings": kept, "code": code}
