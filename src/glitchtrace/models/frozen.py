"""Frozen backbones: networks trained elsewhere, whose penultimate features a new linear head is trained on.

A model of this kind has two functions beside its card: ``backbone`` gives the network that pictures pass once
(``features/``), ``build`` the head that is trained on the features kept of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.network import Head

# Settings that change neither a picture's features nor where they lie.
INCIDENTAL = ("batch",)


@dataclass(frozen=True)
class OwnInput:
    """What the weights of a network were trained on.

    ``side``: pixels; ``fixed``: whether the network takes no other size; ``crop``: share of the resized
    picture that the central crop keeps; ``interpolation``: bilinear or bicubic; ``mean``, ``std``: per colour
    channel, of values in [0, 1].
    """

    side: int
    fixed: bool
    crop: float
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Backbone(nn.Module):
    """Penultimate features of pictures; nothing in it learns, and it stays in eval mode.

    ``body`` maps prepared pictures (B, 3, S, S) to features (B, d).
    """

    def __init__(self, body: nn.Module, own: OwnInput, preprocessing: str) -> None:
        super().__init__()
        self.body = body.to(memory_format=torch.channels_last)
        self.own = own
        self.preprocessing = preprocessing
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, d) of pictures (B, 1 or 3, H, W) in [−1, 1]."""
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        x = self._own(x) if self.preprocessing == "own" else self._published(x)
        features: Tensor = self.body(x.contiguous(memory_format=torch.channels_last))
        return features

    def _published(self, x: Tensor) -> Tensor:
        """Square pictures of max(side, the network's side) pixels, or the latter where no other will do."""
        side = self.own.side if self.own.fixed else max(self.own.side, *x.shape[2:])
        return x if x.shape[2:] == (side, side) else _resized(x, (side, side), "bilinear")

    def _own(self, x: Tensor) -> Tensor:
        """The shorter side resized to side / crop, the central square, standardised colours."""
        height, width = x.shape[2:]
        short = int(self.own.side / self.own.crop)
        larger = int(short * max(height, width) / min(height, width))
        size = (short, larger) if height <= width else (larger, short)
        x = _resized(x / 2 + 0.5, size, self.own.interpolation)
        top, left = ((length - self.own.side) // 2 for length in size)
        x = x[:, :, top : top + self.own.side, left : left + self.own.side]
        mean, std = (torch.tensor(v, device=x.device).view(-1, 1, 1) for v in (self.own.mean, self.own.std))
        return (x - mean) / std


def _resized(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    return functional.interpolate(x, size=size, mode=mode, antialias=True, align_corners=False)


def head(name: str, shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
    """The head of the model ``name`` for features of ``shape`` (d,), torch's default initial values.

    Raises GlitchtraceError for samples that are no vectors.
    """
    if len(shape) != 1:
        raise GlitchtraceError(
            f"model {name} is trained on extracted features, not on samples of shape {shape}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["head_seed"])
        return Head(nn.Linear(shape[0], classes))
