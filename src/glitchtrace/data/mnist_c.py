"""MNIST-C: MNIST pictures as its authors corrupted them, one archive for all corruptions, packed or unpacked."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, cache_folder, checksum, find, locate

ARCHIVE = RawFile("mnist_c.zip", "md5:4b34b33045869ee6d424616cd3a65da3")
ADDRESS = "https://zenodo.org/record/3239543/files/mnist_c.zip"
PARTS = ("train", "test")
_FILES = {(part, kind): f"{part}_{kind}.npy" for part in PARTS for kind in ("images", "labels")}


def load_corruption(name: str, data_root: Path | None) -> Pool:
    """All 70,000 pictures under one corruption, in the order of MNIST, the training part first.

    From the archive in the data folder, else from its unpacked arrays ``mnist_c/<name>/`` there, else downloaded.
    Only the archive is published with a checksum; those of unpacked arrays are recorded.  Raises GlitchtraceError
    where the archive has no such pictures, and where an unpacked array is missing or of other pictures.
    """
    folder = next((path for path in _unpacked(name, data_root) if path.is_dir()), None)
    if folder and not find(ARCHIVE, data_root):
        arrays = _arrays(lambda file: (folder / file).read_bytes(), folder, "files")
        checksums = {f"mnist_c/{name}/{file}": checksum(folder / file, "sha256") for file in _FILES.values()}
        return _pool(arrays, checksums, folder)
    path = locate(ARCHIVE, data_root, lambda: [ADDRESS])
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _arrays(lambda file: archive.read(f"mnist_c/{name}/{file}"), path, "archive")
    except zipfile.BadZipFile as error:
        raise GlitchtraceError(
            f"{path}: not the expected archive ({error}); replace it by the original"
        ) from None
    return _pool(arrays, {ARCHIVE.path: ARCHIVE.checksum}, path)


def _unpacked(name: str, data_root: Path | None) -> list[Path]:
    return [folder / "mnist_c" / name for folder in (data_root, cache_folder()) if folder]


def _arrays(read: Callable[[str], bytes], path: Path, what: str) -> dict[tuple[str, str], np.ndarray]:
    """(part, kind) -> array, from the content of each file."""
    try:
        return {key: np.load(io.BytesIO(read(file)), allow_pickle=False) for key, file in _FILES.items()}
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
        raise GlitchtraceError(
            f"{path}: not the expected {what} ({error}); replace it by the original"
        ) from None


def _pool(arrays: dict[tuple[str, str], np.ndarray], checksums: dict[str, str], path: Path) -> Pool:
    for part in PARTS:
        found, counted = arrays[part, "images"].shape, arrays[part, "labels"].shape
        if found[:3] != (*counted, 28, 28):
            raise GlitchtraceError(
                f"{path}: {part} pictures of shape {found} and labels of shape {counted}; expected one label "
                "per picture of 28 x 28 pixels: replace it by the original"
            )
    count = len(arrays["train", "labels"])
    labels = np.concatenate([arrays[part, "labels"] for part in PARTS]).astype(np.int64)
    pictures = np.concatenate([arrays[part, "images"] for part in PARTS])
    return Pool(
        features=pictures.reshape(len(labels), 28, 28).astype(np.uint8),
        labels=labels,
        class_names=tuple("0123456789"),
        parts={"train": (0, count), "test": (count, len(labels))},
        checksums=checksums,
    )
