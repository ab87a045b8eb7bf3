"""From stored rows to the tensors that networks take."""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_BLOCK = 4096  # rows held as float64 at a time


class Inputs(ABC):
    """Samples in storage form, turned into float32 tensors batch by batch.

    ``shape``: of one prepared sample, (C, H, W) or (d,).  ``categories``: number of categories of each
    categorical column of a table.
    """

    shape: tuple[int, ...]
    categories: tuple[int, ...] = ()

    def __init__(self, stored: np.ndarray) -> None:
        self._stored = stored

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def crc32(self) -> int:
        """CRC-32 of the samples as they are stored, in their order."""
        return zlib.crc32(np.ascontiguousarray(self._stored).data)

    @abstractmethod
    def batch(self, rows: np.ndarray | slice) -> torch.Tensor:
        """The prepared samples, (b, *shape)."""


class PictureInputs(Inputs):
    """Pictures for convolutional networks: NCHW in [−1, 1], channels_last.

    Pixels become (x/255 − 0.5)/0.5, the same for all datasets and models
    (docs/methods/training.md#preparation).  ``stored``: uint8 (n, H, W) or (n, H, W, 3).  ``side``: pictures
    are resized to side × side (bilinear) where it is given.
    """

    def __init__(self, stored: np.ndarray, side: int | None = None) -> None:
        super().__init__(stored)
        channels = stored.shape[3] if stored.ndim == 4 else 1
        self._side = side
        self.shape = (channels, side, side) if side else (channels, *stored.shape[1:3])

    def batch(self, rows: np.ndarray | slice) -> torch.Tensor:
        """The prepared samples, (b, C, H, W) float32."""
        import torch

        pixels = torch.from_numpy(np.ascontiguousarray(self._stored[rows]))
        pictures = pixels.permute(0, 3, 1, 2) if pixels.ndim == 4 else pixels.unsqueeze(1)
        scaled = pictures.to(torch.float32, memory_format=torch.channels_last).div_(255).sub_(0.5).div_(0.5)
        if self._side:
            scaled = torch.nn.functional.interpolate(
                scaled, size=self.shape[1:], mode="bilinear", antialias=True
            )
        return scaled.contiguous(memory_format=torch.channels_last)

    def resized(self, side: int) -> PictureInputs:
        """The same pictures, resized to side × side instead."""
        return PictureInputs(self._stored, side)


class TableInputs(Inputs):
    """Rows of columns, split into standardised numbers, (x − mean)/std, and codes of categories.

    ``stored``: (n, …) float32, or uint8, which counts as x/255.  ``mean``, ``std``: one per column, see
    ``standardisation``.  ``counts``: number of categories per column, 0 for numbers; empty where all columns
    hold numbers.
    """

    def __init__(
        self, stored: np.ndarray, mean: np.ndarray, std: np.ndarray, counts: Sequence[int] = ()
    ) -> None:
        super().__init__(stored)
        by_column = np.array(counts or [0] * len(mean))
        self._numbers, self._codes = np.flatnonzero(by_column == 0), np.flatnonzero(by_column)
        self._mean, self._std = mean[self._numbers], std[self._numbers]
        self.categories = tuple(by_column[self._codes].tolist())

    def _split(self, rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        """Standardised numbers (b, q) float64 and codes (b, c) of some rows."""
        flat = _flat(self._stored[rows])
        if not self.categories:
            return (flat - self._mean) / self._std, flat[:, :0]
        return (flat[:, self._numbers] - self._mean) / self._std, flat[:, self._codes]


class VectorInputs(TableInputs):
    """Rows for fully connected networks: the standardised numbers, then each category as 0 or 1 (one-hot)."""

    def __init__(
        self, stored: np.ndarray, mean: np.ndarray, std: np.ndarray, counts: Sequence[int] = ()
    ) -> None:
        super().__init__(stored, mean, std, counts)
        self.shape = (len(self._numbers) + sum(self.categories),)
        self._first = len(self._numbers) + np.cumsum([0, *self.categories[:-1]])

    def batch(self, rows: np.ndarray | slice) -> torch.Tensor:
        """The prepared samples, (b, d) float32."""
        import torch

        numbers, codes = self._split(rows)
        if not self.categories:
            return torch.from_numpy(numbers.astype(np.float32))
        vectors = np.zeros((len(numbers), *self.shape), dtype=np.float32)
        vectors[:, : numbers.shape[1]] = numbers
        np.put_along_axis(vectors, self._first + codes.astype(np.int64), 1.0, axis=1)
        return torch.from_numpy(vectors)


class TokenInputs(TableInputs):
    """Rows for networks that treat columns one by one: the standardised numbers, then the codes of categories."""

    def __init__(
        self, stored: np.ndarray, mean: np.ndarray, std: np.ndarray, counts: Sequence[int] = ()
    ) -> None:
        super().__init__(stored, mean, std, counts)
        self.shape = (len(mean),)

    def batch(self, rows: np.ndarray | slice) -> torch.Tensor:
        """The prepared samples, (b, d) float32."""
        import torch

        return torch.from_numpy(np.concatenate(self._split(rows), axis=1).astype(np.float32))


def standardisation(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (d,) float64 of the columns of rows (n, …), flattened.

    The deviation is that of the population, sqrt(Σ (x − mean)²/n); a constant column gets 1.
    """
    blocks = [stored[first : first + _BLOCK] for first in range(0, len(stored), _BLOCK)]
    mean = sum(_flat(block).sum(axis=0) for block in blocks) / len(stored)
    variance = sum(((_flat(block) - mean) ** 2).sum(axis=0) for block in blocks) / len(stored)
    # Rounding of the mean must not pass for variation.
    constant = (stored.max(axis=0) == stored.min(axis=0)).ravel()
    return mean, np.where(constant, 1.0, np.sqrt(variance))


def _flat(stored: np.ndarray) -> np.ndarray:
    """Rows as float64 (n, d), pixels in [0, 1]."""
    flat = stored.reshape(len(stored), math.prod(stored.shape[1:])).astype(np.float64)
    return flat / 255 if stored.dtype == np.uint8 else flat
