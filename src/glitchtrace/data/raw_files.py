"""Raw files of datasets: where they lie, whether they are the right ones, and where to get them."""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError


@dataclass(frozen=True)
class RawFile:
    """One raw file: its path below the data folder, and "algorithm:digest" of its content."""

    path: str
    checksum: str


def cache_folder() -> Path:
    """Where downloads go when no data folder is configured."""
    return Path.home() / ".cache" / "glitchtrace"


def locate(raw: RawFile, data_root: Path | None, sources: Callable[[], Sequence[str]] | None = None) -> Path:
    """The verified raw file: from ``data_root``, else the cache folder, else downloaded into the first.

    ``sources`` gives the addresses to try in turn; None means that the file is published nowhere.  Raises
    GlitchtraceError if the file is missing and cannot be had, or if its checksum is not the expected one.
    """
    found = find(raw, data_root)
    if found:
        return found
    folders = _folders(data_root)
    looked = " or ".join(str(folder / raw.path) for folder in folders)
    remedy = (
        f"put it at {folders[0] / raw.path}, or set data_root (GLITCHTRACE_DATA) to the folder that has it"
    )
    if sources is None:
        raise GlitchtraceError(
            f"{Path(raw.path).name} is not at {looked}, and no download of it exists; {remedy}"
        )
    target = folders[0] / raw.path
    reason = _download(sources(), target, raw.checksum)
    if reason:
        raise GlitchtraceError(
            f"{target.name} is not at {looked}, and its download failed ({reason}); {remedy}"
        )
    return target


def find(raw: RawFile, data_root: Path | None) -> Path | None:
    """The verified raw file where it is at hand, in ``data_root`` or in the cache folder; else None.

    Raises GlitchtraceError if its checksum is not the expected one.
    """
    for folder in _folders(data_root):
        if (folder / raw.path).is_file():
            verify(folder / raw.path, raw.checksum)
            return folder / raw.path
    return None


def _folders(data_root: Path | None) -> list[Path]:
    return [data_root, cache_folder()] if data_root else [cache_folder()]


def verify(path: Path, expected: str) -> None:
    """Raise GlitchtraceError unless the file's checksum is ``expected`` ("algorithm:digest")."""
    found = checksum(path, expected.partition(":")[0])
    if found != expected:
        raise GlitchtraceError(
            f"{path}: truncated or altered ({expected} expected, {found} found); replace it by the original, "
            "or delete it to have it downloaded again where that is possible"
        )


def verify_named(path: Path) -> None:
    """Raise GlitchtraceError unless a download has the SHA-256 that its name says: ``net-0a1b2c3d.pth``, or in full.

    The hubs check it when the file comes and never again.  A name without a digest says nothing.
    """
    named = re.search(r"(?:^|-)([0-9a-f]{64}|(?<=-)[0-9a-f]{8})$", path.stem)
    if named and path.is_file():
        digest = checksum(path, "sha256")
        if not digest.startswith(f"sha256:{named[1]}"):
            raise GlitchtraceError(
                f"{path}: truncated or altered (SHA-256 {digest[7:15]}… found, {named[1][:8]}… in its name); delete "
                "it to download it again"
            )


def checksum(path: Path, algorithm: str) -> str:
    """Digest of the content of a file, as "algorithm:digest"."""
    with open(path, "rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"


def read_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The named arrays of an npz file.  Raises GlitchtraceError where one is missing or pickled."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            missing = [name for name in names if name not in arrays]
            if missing:
                raise GlitchtraceError(
                    f"{path}: there is no array '{missing[0]}' in it, but {', '.join(arrays) or 'none'}; "
                    "name one of these, or replace the file by the original"
                )
            return [arrays[name] for name in names]
    except (KeyError, ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise GlitchtraceError(
            f"{path}: not the expected npz file ({error}); replace it by the original"
        ) from None


def _download(addresses: Sequence[str], target: Path, expected: str) -> str | None:
    """Download ``target`` from the first address that has it; None, or why no address did."""
    from torchvision.datasets.utils import download_url

    reasons = []
    for address in addresses:
        try:
            with files.replacing(target) as temporary:
                # torchvision takes a file that is there already for a finished download.
                temporary.unlink()
                download_url(address, str(temporary.parent), temporary.name)
                if checksum(temporary, expected.partition(":")[0]) != expected:
                    raise RuntimeError(f"{address} has another content")
            return None
        # torchvision reports an unreachable address as OSError, too many redirections as RecursionError.
        except (OSError, RuntimeError) as error:
            reasons.append(" ".join(str(error).split()))
    return "; ".join(dict.fromkeys(reasons))
