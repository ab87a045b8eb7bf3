"""Frozen backbones: networks trained elsewhere, whose penultimate features a new linear head is trained on.

A model of this kind has two functions beside its card: ``backbone`` gives the network that pictures pass once
(``features/``), ``build`` the head that is trained on the features kept of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.feature_store import columns
from glitchtrace.data.preprocess import PictureInputs
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
    """Features of pictures; nothing in it learns, and it stays in eval mode.

    ``body`` maps prepared pictures (B, 3, S, S) to features (B, d).  ``side``: the pixels S that pictures are
    resized to, None for the network's own size.  ``widths``: representation -> number of its features, in the
    order in which ``body`` gives them; None where all are of the penultimate layer.  ``interpolation``: how the
    preprocessing ``published`` resizes.  Raises GlitchtraceError for a ``side`` that the network cannot take.
    """

    def __init__(
        self,
        body: nn.Module,
        own: OwnInput,
        preprocessing: str,
        side: int | None = None,
        widths: Mapping[str, int] | None = None,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        if side and own.fixed and side != own.side:
            raise GlitchtraceError(
                f"side: {side}, but this network takes pictures of {own.side} pixels alone; set side: null"
            )
        self.body = body.to(memory_format=torch.channels_last)
        self.own = replace(own, side=side) if side else own
        self.preprocessing = preprocessing
        self.interpolation = interpolation
        self.exact = own.fixed or bool(side)
        self.widths = widths
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, d) of pictures (B, 1 or 3, H, W) in [−1, 1], the representations one after the other."""
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        x = self._own(x) if self.preprocessing == "own" else self._published(x)
        features: Tensor = self.body(x.contiguous(memory_format=torch.channels_last))
        return features

    @torch.inference_mode()
    def embed(self, pictures: np.ndarray | Sequence[np.ndarray], batch: int = 25) -> dict[str, np.ndarray]:
        """Representation -> features (n, d) float32 of stored pictures.

        ``pictures``: uint8 (n, H, W) or (n, H, W, 3), or a sequence of (H, W) or (H, W, 3) of any sizes; ``batch``:
        how many pass at a time.  Raises GlitchtraceError where a picture is of another type or form, or there is
        none.
        """
        if not len(pictures):
            raise GlitchtraceError("embed: no pictures; give at least one")
        found = [
            self._block(pictures[start : start + batch], start) for start in range(0, len(pictures), batch)
        ]
        features = np.concatenate(found)
        return {name: features[:, own] for name, own in columns(self.widths, features.shape[1]).items()}

    def _block(self, pictures: np.ndarray | Sequence[np.ndarray], first: int) -> np.ndarray:
        if not isinstance(pictures, np.ndarray) and len({picture.shape for picture in pictures}) > 1:
            return np.concatenate([self._block([picture], first + i) for i, picture in enumerate(pictures)])
        block = np.asarray(pictures)
        if block.dtype != np.uint8 or block.ndim not in (3, 4) or (block.ndim == 4 and block.shape[3] != 3):
            raise GlitchtraceError(
                f"embed: picture {first} is of shape {block.shape[1:]} and type {block.dtype}; give bytes (uint8) of "
                "shape (H, W) or (H, W, 3)"
            )
        features: np.ndarray = self(PictureInputs(block).batch(slice(None))).numpy()
        return features

    def _published(self, x: Tensor) -> Tensor:
        """Square pictures of the side asked for; without one, larger pictures keep theirs where it will do."""
        side = self.own.side if self.exact else max(self.own.side, *x.shape[2:])
        if x.shape[2:] == (side, side):
            return x
        x = _resized(x, (side, side), self.interpolation)
        # Bicubic overshoots at edges; the pictures of the training, of bytes, could not.
        return x.clamp(-1, 1) if self.interpolation == "bicubic" else x

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
