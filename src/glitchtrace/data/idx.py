"""The IDX format of MNIST and of datasets in its form."""

import gzip
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate

_UNSIGNED_BYTE = 0x08
# Part -> files of its pictures and labels, in the order of the rows.
_PARTS = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """A gzipped IDX file of unsigned bytes with the given number of dimensions, as uint8.

    The format: two zero bytes, type code, number of dimensions, sizes as big-endian uint32, then the values.
    Raises GlitchtraceError where the file is none such or is cut short.
    """
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise GlitchtraceError(
            f"{path}: not a whole gzip file ({error}); replace it by the original"
        ) from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)):
        raise GlitchtraceError(
            f"{path}: not an IDX file of unsigned bytes in {dimensions} dimension(s) (it begins with "
            f"0x{content[:4].hex()}); replace it by the original"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    values = np.frombuffer(content, dtype=np.uint8, offset=header)
    if values.size != np.prod(shape):
        raise GlitchtraceError(
            f"{path}: {values.size} values where the header announces {'×'.join(map(str, shape))}; "
            "replace it by the original"
        )
    return values.reshape(shape)


def load_idx(
    folder: str,
    md5: Mapping[str, str],
    class_names: Sequence[str],
    data_root: Path | None,
    mirrors: Callable[[], Sequence[str]],
) -> Pool:
    """A dataset of four IDX files in ``folder`` of the data folder: training part, then test part.

    ``md5``: file -> digest; ``mirrors``: gives the addresses under which the files are published.
    """
    pictures, labels, parts = [], [], {}
    first = 0
    for part, names in _PARTS.items():
        paths = [
            locate(
                RawFile(f"{folder}/{name}", f"md5:{md5[name]}"),
                data_root,
                lambda name=name: [f"{mirror}{name}" for mirror in mirrors()],  # type: ignore[misc]
            )
            for name in names
        ]
        pictures.append(read_idx(paths[0], dimensions=3))
        labels.append(read_idx(paths[1], dimensions=1).astype(np.int64))
        parts[part] = (first, first + len(labels[-1]))
        first += len(labels[-1])
    return Pool(
        features=np.concatenate(pictures),
        labels=np.concatenate(labels),
        class_names=tuple(class_names),
        parts=parts,
        checksums={name: f"md5:{digest}" for name, digest in md5.items()},
    )
