"""One pass of pictures through a frozen backbone: the fastest exact way, and a faster inexact one by name."""

import sys
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from glitchtrace.data.preprocess import PictureInputs
from glitchtrace.models.frozen import Backbone
from glitchtrace.training.sgd import out_of_memory


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
        with tqdm(
            total=len(wanted), desc="extracting", unit=" pictures", file=sys.stderr, mininterval=5
        ) as bar:
            for start in range(0, len(wanted), self._batch):
                part = wanted.iloc[start : start + self._batch]
                yield self._features(part, self._precision)
                bar.update(len(part))

    def deviation(self, sample: pd.DataFrame) -> float:
        """Largest difference from float32 over the pictures of ``sample``, relative to the largest feature."""
        exact, ours = self._features(sample, "float32"), self._features(sample, self._precision)
        return float(np.abs(ours - exact).max() / np.abs(exact).max())

    def width(self) -> int:
        """Number of features of a picture, as a blank one shows."""
        side = self._backbone.own.side
        with torch.inference_mode():
            return int(self._backbone(torch.zeros(1, 3, side, side, device=self._device)).shape[1])

    @torch.inference_mode()
    def _features(self, part: pd.DataFrame, precision: str) -> np.ndarray:
        x = PictureInputs(self._pictures(part)).batch(slice(None)).to(self._device)
        inexact = precision == "bfloat16"
        with (
            out_of_memory("batch", self._batch),
            torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=inexact),
        ):
            return self._backbone(x).float().cpu().numpy()
