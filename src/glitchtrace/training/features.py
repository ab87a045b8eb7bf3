"""Features of frozen backbones: one pass of each picture, kept in a store.

The stages give the features of a cell's training and validation pictures, and of a split's test pictures.  Both add to
one store per source and backbone, below ``<results>/features``, whose folder is named by a digest of all that the
features depend on: settings, code and weights.  Other cells, seeds, studies and variants of the model that differ in
training only find there what is at hand and pass only their new pictures through the backbone.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from glitchtrace.core import files, provenance, registry
from glitchtrace.core.heap import kept_heap
from glitchtrace.data.feature_store import PENULTIMATE, FeatureStore, folder, of_rows, of_samples
from glitchtrace.data.preprocess import PictureInputs
from glitchtrace.data.sources import Sources
from glitchtrace.data.split import TEST, VALIDATION, rows_of
from glitchtrace.models.frozen import INCIDENTAL, Backbone
from glitchtrace.training.device import choose
from glitchtrace.training.sgd import out_of_memory

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
    validation = of_rows(sources.host, rows_of(files.read_parquet(split), VALIDATION))
    wanted = pd.concat([of_samples(files.read_parquet(glitch)), validation], ignore_index=True)
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
    wanted = of_rows(sources.host, rows_of(files.read_parquet(split), TEST))
    _extract(sources, features, wanted, stored, model, settings, device, weights)


class Extractor:
    """Features of pictures, in blocks of ``batch``.

    The backbone is opened when the first picture comes: a job that finds all features at hand loads none.
    Arithmetic is float32, or bfloat16 under autocast; features are float32 in both.  On a CPU, where pictures of
    one batch do not touch each other's numbers, a picture's features are the same bits in whatever batch it comes.

    ``pictures``: the stored pictures, uint8 (b, H, W) or (b, H, W, 3), of identities.
    """

    def __init__(
        self,
        open_backbone: Callable[[], Backbone],
        pictures: Callable[[pd.DataFrame], np.ndarray],
        *,
        batch: int,
        precision: str,
        device: torch.device,
    ) -> None:
        self._open = open_backbone
        self._pictures = pictures
        self._batch = batch
        self._precision = precision
        self._device = device

    @cached_property
    def _backbone(self) -> Backbone:
        return self._open().to(self._device)

    def blocks(self, wanted: pd.DataFrame) -> Iterator[np.ndarray]:
        """The features (b, d) float32 of the pictures, in order; a progress bar shows pictures per second."""
        with (
            kept_heap(),
            tqdm(
                total=len(wanted), desc="extracting", unit=" pictures", file=sys.stderr, mininterval=5
            ) as bar,
        ):
            for start in range(0, len(wanted), self._batch):
                part = wanted.iloc[start : start + self._batch]
                yield self._features(part, self._precision)
                bar.update(len(part))

    def deviation(self, sample: pd.DataFrame) -> float:
        """Largest difference from float32 over the pictures of ``sample``, relative to the largest feature."""
        exact, ours = self._features(sample, "float32"), self._features(sample, self._precision)
        return float(np.abs(ours - exact).max() / np.abs(exact).max())

    def widths(self) -> dict[str, int]:
        """Representation -> number of its features of a picture, as a blank one shows."""
        if self._backbone.widths:
            return dict(self._backbone.widths)
        side = self._backbone.own.side
        with torch.inference_mode():
            blank = self._backbone(torch.zeros(1, 3, side, side, device=self._device))
        return {PENULTIMATE: int(blank.shape[1])}

    @torch.inference_mode()
    def _features(self, part: pd.DataFrame, precision: str) -> np.ndarray:
        x = PictureInputs(self._pictures(part)).batch(slice(None)).to(self._device)
        inexact = precision == "bfloat16"
        with (
            out_of_memory("batch", self._batch),
            torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=inexact),
        ):
            features: np.ndarray = self._backbone(x).float().cpu().numpy()
        return features


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
        widths = extractor.widths()
        described = {**defining, "width": sum(widths.values()), "widths": widths, "deviation": 0.0}
        if settings["precision"] != "float32":
            described["deviation"] = extractor.deviation(of_rows(sources.host, np.arange(MEASURED)))
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
        "glitchtrace.training.features:Extractor",
        "glitchtrace.data.sources",
    )
    return {"settings": kept, "code": code}
