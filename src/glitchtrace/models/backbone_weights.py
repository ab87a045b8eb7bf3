"""Weights of frozen backbones: random, from a local file, or from the hub; there is no fallback between them."""

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.raw_files import cache_folder, verify_named
from glitchtrace.models.network import check_tensors

Made = TypeVar("Made")
# What torch and safetensors raise for damaged files.
_UNREADABLE = (
    OSError,
    SafetensorError,
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
)


def folder() -> Path:
    """Where downloaded weights are kept: ``weights`` in the data folder, else in the cache folder."""
    return Path(os.environ.get("GLITCHTRACE_DATA") or cache_folder()) / "weights"


def local_file(weights: str) -> Path | None:
    """The local file that the setting names; None for pretrained and random weights.

    Raises GlitchtraceError where there is no such file, or it is of another kind.
    """
    if weights in ("pretrained", "random"):
        return None
    path = Path(weights)
    if path.suffix not in (".safetensors", ".pth"):
        raise GlitchtraceError(
            f"unknown weights '{weights}'; known: pretrained, random, or the path of a .safetensors or .pth file"
        )
    if not path.is_file():
        raise GlitchtraceError(
            f"weights: the file {path} does not exist; correct the path, or set weights: pretrained"
        )
    return path


def seeded(make: Callable[[], Made], seed: int) -> Made:
    """What ``make`` returns with torch's generator seeded for it, and set back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def load_file(body: nn.Module, heads: Sequence[str], path: Path) -> None:
    """Set the parameters and buffers of ``body`` to those of a local file.

    ``heads``: names of the modules that the file may have beyond the body.  Raises GlitchtraceError where the
    file cannot be read or holds another network.
    """
    load_tensors(body, heads, read(path), str(path))


def load_tensors(body: nn.Module, heads: Sequence[str], tensors: Mapping[str, Tensor], origin: str) -> None:
    """Set the parameters and buffers of ``body``; ``origin`` names the tensors in errors, see ``load_file``."""
    dropped = tuple(f"{name}." for name in heads)
    found = {
        name.removeprefix("module."): tensor
        for name, tensor in tensors.items()
        if not name.removeprefix("module.").startswith(dropped) and not name.endswith("num_batches_tracked")
    }
    state = body.state_dict()
    expected = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    check_tensors(found, expected, origin)
    body.load_state_dict(found, strict=False)


def download(url: str) -> Mapping[str, Tensor]:
    """The tensors behind ``url``, kept in ``folder()``.  Raises GlitchtraceError as ``download_into``."""
    return download_into(
        folder(),
        url,
        lambda reason: (
            f"weights: pretrained, but {url.rpartition('/')[2]} is not in {folder()} and {url} cannot be had "
            f"({reason}); put the file there, or set weights to the path of a local file"
        ),
    )


def download_into(place: Path, url: str, absent: Callable[[str], str]) -> Mapping[str, Tensor]:
    """The tensors behind ``url``, read from the folder ``place`` where an earlier download left them.

    ``absent``: the message where they cannot be had, given the reason.  Raises GlitchtraceError with it, and where
    the file of an earlier download has been altered since or cannot be read.
    """
    file = place / url.rpartition("/")[2]
    verify_named(file)
    try:
        tensors: Mapping[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, str(place), map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())
        unreadable = f"{file} cannot be read ({reason}); delete it to download it again"
        raise GlitchtraceError(unreadable if file.is_file() else absent(reason)) from None
    return tensors


def read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a .safetensors or .pth file; no code in it is run.  Raises GlitchtraceError if unreadable."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file as load_safetensors

            return load_safetensors(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise GlitchtraceError(
            f"{path} cannot be read as tensors ({' '.join(str(error).split())[:200]}); replace it by the original"
        ) from None
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
