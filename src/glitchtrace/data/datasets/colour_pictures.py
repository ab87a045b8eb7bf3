"""CIFAR-10 and STL-10: small colour pictures of ten classes.

CIFAR-10 in three forms: the official pickled archive, lossless pictures, JPEG pictures.  STL-10 from its official
binary archive, which stores pictures column by column.
"""

import io
import itertools
import pickle
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool, Reader
from glitchtrace.data.raw_files import RawFile, locate, read_arrays

KIND = "dataset"
CARDS = {
    "cifar10": {
        "summary": "CIFAR-10, 32 × 32 colour pixels, from the official archive with its training and test part.",
        "modality": "image",
        "classes": 10,
        "rows": {"train": 50000, "test": 10000},
        "shape": [32, 32, 3],
        "foreign": "fmnist",
        "licence": "none stated by the authors",
        "citation": "Krizhevsky: Learning multiple layers of features from tiny images, 2009",
        "source": "the address that torchvision names (`torchvision.datasets.CIFAR10`)",
    },
    "cifar10_jpeg": {
        "summary": "CIFAR-10 as JPEG of quality about 75: all pictures in official order, at a visible loss.",
        "modality": "image",
        "classes": 10,
        "rows": {"train": 50000, "test": 10000},
        "shape": [32, 32, 3],
        "foreign": "fmnist",
        "licence": "none stated",
        "citation": "Krizhevsky: Learning multiple layers of features from tiny images, 2009",
        "source": "none to download: the file lies in the data folder",
    },
    "cifar10_lossless": {
        "summary": "CIFAR-10, lossless: official training pictures 0 … 3999 and test pictures 0 … 999.",
        "modality": "image",
        "classes": 10,
        "rows": {"train": 4000, "test": 1000},
        "shape": [32, 32, 3],
        "foreign": "fmnist",
        "licence": "none stated by the authors; repositories of the pictures: MIT",
        "citation": "Krizhevsky: Learning multiple layers of features from tiny images, 2009",
        "source": "none to download: the file lies in the data folder",
    },
    "stl10": {
        "summary": "STL-10, 96 × 96 colour pixels, the labelled part with its official training and test rows.",
        "modality": "image",
        "classes": 10,
        "rows": {"train": 5000, "test": 8000},
        "shape": [96, 96, 3],
        "foreign": "fmnist",
        "licence": "none stated by the authors",
        "citation": (
            "Coates, Lee, Ng: An analysis of single-layer networks in unsupervised feature learning, "
            "AISTATS 2011"
        ),
        "source": "the address that torchvision names (`torchvision.datasets.STL10`)",
    },
}

CIFAR10 = RawFile("cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a")
LOSSLESS = RawFile(
    "CIFAR10/cifar10_lossless_5000.npz",
    "sha256:162bcb98d13a6fd8a07f72d011edd63417a739cf16ad3c0a5189eb1cf94c23f4",
)
JPEG = {
    "train": RawFile(
        "CIFAR10/cifar10_train_jpeg.npz",
        "sha256:d6c939fb2ffa123a986b05777750c06939b837c3d93ba0cbe8ac68424920fb3d",
    ),
    "test": RawFile(
        "CIFAR10/cifar10_test_jpeg.npz",
        "sha256:c10281898a646c1f665f43a541bede6fe8b3a7f251c8ae599c4dae2826df5c43",
    ),
}
STL10 = RawFile("stl10_binary.tar.gz", "md5:91f7769df0f17e558f3565bffb0c7dfb")
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STL10_NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
STL10_SIDE = 96
_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
# numpy's own reconstruction function, whose module name differs between versions of numpy.
_RECONSTRUCT: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler that admits arrays, bytes, strings, numbers, lists and dictionaries, and nothing else.

    Raises pickle.UnpicklingError for any other class or function before it is called.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The admitted class of that name."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def load_cifar10(data_root: Path | None) -> Pool:
    """All rows of the archive, the test batch last: from the data folder, else by torchvision's address."""

    def addresses() -> Sequence[str]:
        from torchvision import datasets

        return [datasets.CIFAR10.url]

    features, labels, training_rows = read_cifar10(locate(CIFAR10, data_root, addresses))
    return Pool(
        features=features,
        labels=labels,
        class_names=CLASS_NAMES,
        parts={"train": (0, training_rows), "test": (training_rows, len(labels))},
        checksums={CIFAR10.path: CIFAR10.checksum},
    )


def load_lossless(data_root: Path | None) -> Pool:
    """All 5,000 rows, the training part first; the file has no download."""
    train, train_labels, test, test_labels = read_arrays(
        locate(LOSSLESS, data_root), ("x_train", "y_train", "x_test", "y_test")
    )
    count = len(train) + len(test)
    return Pool(
        features=np.concatenate([train, test]),
        labels=np.concatenate([train_labels, test_labels]).astype(np.int64),
        class_names=CLASS_NAMES,
        parts={"train": (0, len(train)), "test": (len(train), count)},
        checksums={LOSSLESS.path: LOSSLESS.checksum},
    )


def load_jpeg(data_root: Path | None) -> Pool:
    """All 60,000 rows, decoded, the training part first; the files have no download."""
    paths = {part: locate(raw, data_root) for part, raw in JPEG.items()}
    pictures, labels, parts = [], [], {}
    first = 0
    for part, path in paths.items():
        content, offsets, part_labels = read_arrays(path, ("jpeg", "offsets", "labels"))
        pictures.append(decode_jpeg(content, offsets))
        labels.append(part_labels.astype(np.int64))
        parts[part] = (first, first + len(part_labels))
        first += len(part_labels)
    return Pool(
        features=np.concatenate(pictures),
        labels=np.concatenate(labels),
        class_names=CLASS_NAMES,
        parts=parts,
        checksums={raw.path: raw.checksum for raw in JPEG.values()},
    )


def load_stl10(data_root: Path | None) -> Pool:
    """All 13,000 labelled rows, the test part last: from the data folder, else by torchvision's address."""

    def addresses() -> Sequence[str]:
        from torchvision import datasets

        return [datasets.STL10.url]

    features, labels, training_rows = read_stl10(locate(STL10, data_root, addresses))
    return Pool(
        features=features,
        labels=labels,
        class_names=STL10_NAMES,
        parts={"train": (0, training_rows), "test": (training_rows, len(labels))},
        checksums={STL10.path: STL10.checksum},
    )


def read_cifar10(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Pictures (N, 32, 32, 3) uint8, labels (N,) int64 and the number of training rows, which come first.

    The archive is read without being unpacked.  Raises GlitchtraceError where a batch is missing, of another
    form, or asks the unpickler for anything but arrays.
    """
    pictures, labels = [], []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name in _BATCHES:
                stream = archive.extractfile(f"cifar-10-batches-py/{name}")
                batch = ArrayUnpickler(io.BytesIO(stream.read()), encoding="bytes").load()  # type: ignore[union-attr]
                pictures.append(np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
                labels.append(np.asarray(batch[b"labels"], dtype=np.int64))
    except (
        tarfile.TarError,
        EOFError,
        OSError,
        KeyError,
        ValueError,
        TypeError,
        pickle.UnpicklingError,
    ) as error:
        raise GlitchtraceError(
            f"{path}: not the official CIFAR-10 archive ({error}); replace it by the original"
        ) from None
    training_rows = sum(len(batch) for batch in labels[:-1])
    return np.concatenate(pictures).transpose(0, 2, 3, 1), np.concatenate(labels), training_rows


def decode_jpeg(content: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, 3) uint8 from N JPEG files that follow each other in ``content``.

    File i is ``content[offsets[i]:offsets[i + 1]]``.
    """
    from PIL import Image

    return np.stack(
        [
            np.asarray(Image.open(io.BytesIO(content[begin:end].tobytes())).convert("RGB"))
            for begin, end in itertools.pairwise(offsets)
        ]
    )


def read_stl10(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Pictures (N, 96, 96, 3) uint8, labels (N,) int64 in 0 … 9, and the number of training rows, which come first.

    The archive is read without being unpacked.  Raises GlitchtraceError where a part is missing, cut short or
    has other labels than 1 … 10.
    """
    pictures, labels = [], []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for part in ("train", "test"):
                content = [_read_bytes(archive, f"stl10_binary/{part}_{letter}.bin") for letter in ("X", "y")]
                # Stored as channel, column, row.
                pictures.append(content[0].reshape(-1, 3, STL10_SIDE, STL10_SIDE).transpose(0, 3, 2, 1))
                labels.append(content[1].astype(np.int64) - 1)
                if len(pictures[-1]) != len(labels[-1]) or not set(labels[-1]) <= set(range(10)):
                    raise ValueError(f"labels of {part} do not fit its pictures")
    except (tarfile.TarError, EOFError, OSError, KeyError, ValueError, zlib.error) as error:
        raise GlitchtraceError(
            f"{path}: not the official STL-10 archive ({error}); replace it by the original"
        ) from None
    return np.ascontiguousarray(np.concatenate(pictures)), np.concatenate(labels), len(labels[0])


def _read_bytes(archive: tarfile.TarFile, name: str) -> np.ndarray:
    stream = archive.extractfile(name)
    return np.frombuffer(stream.read() if stream else b"", dtype=np.uint8)


COMPONENTS = {
    "cifar10": Reader(load_cifar10, (CIFAR10,)),
    "cifar10_jpeg": Reader(load_jpeg, tuple(JPEG.values())),
    "cifar10_lossless": Reader(load_lossless, (LOSSLESS,)),
    "stl10": Reader(load_stl10, (STL10,)),
}
