"""The three forms of CIFAR-10: the official pickled archive, lossless pictures, JPEG pictures."""

import io
import itertools
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FOLDER = "cifar-10-batches-py"
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


def read_archive(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Pictures (N, 32, 32, 3) uint8, labels (N,) int64 and the number of training rows, which come first.

    The archive is read without being unpacked.  Raises GlitchtraceError where a batch is missing, of another
    form, or asks the unpickler for anything but arrays.
    """
    pictures, labels = [], []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name in _BATCHES:
                stream = archive.extractfile(f"{_FOLDER}/{name}")
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


def read_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The named arrays of an npz file.  Raises GlitchtraceError where one is missing or pickled."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise GlitchtraceError(
            f"{path}: not the expected npz file ({error}); replace it by the original"
        ) from None


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
