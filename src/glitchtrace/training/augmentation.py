"""Random crops and flips that a seed per sample determines, so that each can be had again."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

_BLACK = -1.0  # a pixel of 0 in pictures scaled to [−1, 1]


@dataclass(frozen=True)
class Augmentation:
    """Crop to its own size after padding ``padding`` black pixels on each side; flip left and right by chance."""

    padding: int = 0
    flip: bool = False

    def apply(self, pictures: Tensor, seeds: np.ndarray) -> Tensor:
        """Pictures (B, C, H, W), each changed by its seed alone; tables and empty augmentations pass through."""
        if pictures.ndim != 4 or not (self.padding or self.flip):
            return pictures
        width, reach = self.padding, 2 * self.padding + 1
        bits = scramble(seeds)
        top, left = (torch.from_numpy((bits >> np.uint64(s)) % np.uint64(reach)).long() for s in (8, 24))
        flipped = torch.from_numpy((bits >> np.uint64(40)) & np.uint64(1)).bool() & self.flip
        batch, _, rows, columns = pictures.shape
        place = torch.arange(columns)
        across = torch.where(flipped[:, None], columns - 1 - place, place) + left[:, None]
        down = torch.arange(rows) + top[:, None]
        padded = pad(pictures, (width,) * 4, value=_BLACK).permute(0, 2, 3, 1)
        chosen = padded[torch.arange(batch)[:, None, None], down[:, :, None], across[:, None, :]]
        return chosen.permute(0, 3, 1, 2)


def scramble(seeds: np.ndarray) -> np.ndarray:
    """64 well mixed bits of each seed, uint64: the output function of SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = (seeds.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
