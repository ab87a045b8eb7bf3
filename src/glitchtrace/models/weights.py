"""Weights of ResNet-20 by name or path: where they lie, and how their names become ours.

There is no fallback: what was asked for is loaded, or a message says where it was looked for.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.raw_files import cache_folder, verify
from glitchtrace.models.backbone_weights import download_into

PACKAGE_FOLDER = Path(__file__).parent / "weights"
_HEADS = ("head.", "linear.", "fc.")


@dataclass(frozen=True)
class Published:
    """Weights with a name.

    ``shortcut``: the kind of their network; ``file`` and ``sha256``: the safetensors file in the package
    (``packaged``) or in the folder ``weights`` of the data folder; ``url``: the original, to be downloaded
    into that folder, whose file name carries the first digits of its SHA-256.
    """

    shortcut: str
    licence: str
    file: str | None = None
    sha256: str | None = None
    packaged: bool = False
    url: str | None = None


TABLE: Mapping[str, Published] = {
    "cifar10_jpeg": Published(
        shortcut="padding",
        licence="MIT",
        file="cifar10_resnet20_jpeg.safetensors",
        sha256="464d62540c95ae4df268d800eb226268d5504e4a3845d3ae59981a21690b9ff9",
        packaged=True,
    ),
    "akamaster": Published(
        shortcut="padding",
        licence="2018 Yerlan Idelbayev, BSD-like",
        file="cifar10_resnet20.safetensors",
        sha256="0a37c4bacc67f04fecdab62dbbf763cc7140ecbd18b7b0ba51431f2aa2d46443",
        url="https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/resnet20-12fca82f.th",
    ),
    "chenyaofo": Published(
        shortcut="convolution",
        licence="BSD-3-Clause",
        url="https://github.com/chenyaofo/pytorch-cifar-models/releases/download/resnet/cifar10_resnet20-4118986f.pt",
    ),
}


def load(name: str, shortcut: str, data_root: str | Path | None = None) -> dict[str, Tensor]:
    """Parameters and statistics of a ResNet-20 without its head, named as in ``ResNet20``.

    ``name`` is a key of ``TABLE`` or the path of a .safetensors file.  Published files are looked for in the
    folder ``weights`` of ``data_root`` (default: the environment variable GLITCHTRACE_DATA, else the cache
    folder), where missing ones are downloaded.

    Raises GlitchtraceError where the file is missing, altered or unreadable, and where published weights are
    of a network with the other ``shortcut``.
    """
    if name not in TABLE:
        return _body(_read_named_file(name))
    published = TABLE[name]
    if published.shortcut != shortcut:
        raise GlitchtraceError(
            f"weights '{name}' are of a network with shortcut '{published.shortcut}', not '{shortcut}'; "
            f"set shortcut: {published.shortcut} or choose other weights"
        )
    return _body(_read_published(name, published, data_root))


def _read_named_file(name: str) -> dict[str, Tensor]:
    if not name.endswith(".safetensors"):
        known = ", ".join([*TABLE, "random"])
        raise GlitchtraceError(
            f"unknown weights '{name}'; known: {known}, or the path of a .safetensors file"
        )
    path = Path(name)
    if not path.is_file():
        raise GlitchtraceError(
            f"weights: the file {path} does not exist; correct the path or name published weights"
        )
    return _read(path)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise GlitchtraceError(
            f"{path} cannot be read as safetensors ({error}); replace it by the original"
        ) from None


def _read_published(name: str, published: Published, data_root: str | Path | None) -> dict[str, Tensor]:
    folder = Path(data_root or os.environ.get("GLITCHTRACE_DATA") or cache_folder()) / "weights"
    if published.packaged:
        folder = PACKAGE_FOLDER
    if published.file and (folder / published.file).is_file():
        verify(folder / published.file, f"sha256:{published.sha256}")
        return _read(folder / published.file)
    if published.url:
        return _download(name, published.url, folder)
    raise GlitchtraceError(
        f"weights '{name}': {published.file} is not at {folder}; "
        "install the package again or choose other weights"
    )


def _download(name: str, url: str, folder: Path) -> dict[str, Tensor]:
    """The tensors behind ``url``, read from ``folder`` where an earlier download left them."""
    published = TABLE[name].file
    ours, file = f"{published} or " if published else "", url.rpartition("/")[2]
    tensors: Mapping[str, Any] = download_into(
        folder,
        url,
        lambda reason: (
            f"weights '{name}': {ours}{file} is not at {folder}, and its download from {url} failed "
            f"({reason}); put the file there, or set data_root (or GLITCHTRACE_DATA) to the folder above it"
        ),
    )
    return dict(tensors.get("state_dict", tensors))


def _body(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors below the head under our names: no ``module.``, ``shortcut`` for ``downsample``."""
    renamed = {
        name.removeprefix("module.").replace(".downsample.", ".shortcut."): tensor
        for name, tensor in tensors.items()
    }
    return {
        name: tensor
        for name, tensor in renamed.items()
        if not name.startswith(_HEADS) and not name.endswith("num_batches_tracked")
    }
