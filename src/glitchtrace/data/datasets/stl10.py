"""STL-10: 96 × 96 colour pictures of ten classes, from the official binary archive.

Pictures are stored column by column, which is undone here.  Labels 1 … 10 become 0 … 9.
"""

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate

KIND = "dataset"
CARD = {
    "summary": "STL-10, 96 × 96 colour pixels, the labelled part with its official training and test rows.",
    "modality": "image",
    "classes": 10,
    "rows": {"train": 5000, "test": 8000},
    "shape": [96, 96, 3],
    "foreign": "fmnist",
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated by the authors",
    "citation": "Coates, Lee, Ng: An analysis of single-layer networks in unsupervised feature learning, AISTATS 2011",
}

ARCHIVE = RawFile("stl10_binary.tar.gz", "md5:91f7769df0f17e558f3565bffb0c7dfb")
CLASS_NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
SIDE = 96
_FOLDER = "stl10_binary"


def load(data_root: Path | None) -> Pool:
    """All 13,000 labelled rows, the test part last: from the data folder, else by torchvision's address."""
    features, labels, training_rows = read_archive(locate(ARCHIVE, data_root, _addresses))
    return Pool(
        features=features,
        labels=labels,
        class_names=CLASS_NAMES,
        parts={"train": (0, training_rows), "test": (training_rows, len(labels))},
        checksums={ARCHIVE.path: ARCHIVE.checksum},
    )


def read_archive(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Pictures (N, 96, 96, 3) uint8, labels (N,) int64 in 0 … 9, and the number of training rows, which come first.

    The archive is read without being unpacked.  Raises GlitchtraceError where a part is missing, cut short or
    has other labels than 1 … 10.
    """
    pictures, labels = [], []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for part in ("train", "test"):
                content = [_read(archive, f"{_FOLDER}/{part}_{letter}.bin") for letter in ("X", "y")]
                # Stored as channel, column, row.
                pictures.append(content[0].reshape(-1, 3, SIDE, SIDE).transpose(0, 3, 2, 1))
                labels.append(content[1].astype(np.int64) - 1)
                if len(pictures[-1]) != len(labels[-1]) or not set(labels[-1]) <= set(range(10)):
                    raise ValueError(f"labels of {part} do not fit its pictures")
    except (tarfile.TarError, EOFError, OSError, KeyError, ValueError, zlib.error) as error:
        raise GlitchtraceError(
            f"{path}: not the official STL-10 archive ({error}); replace it by the original"
        ) from None
    return np.ascontiguousarray(np.concatenate(pictures)), np.concatenate(labels), len(labels[0])


def _read(archive: tarfile.TarFile, name: str) -> np.ndarray:
    stream = archive.extractfile(name)
    return np.frombuffer(stream.read() if stream else b"", dtype=np.uint8)


def _addresses() -> Sequence[str]:
    from torchvision.datasets import STL10

    return [STL10.url]
