"""MNIST and datasets in its form: handwritten digits, clothing, two digits alone, corrupted copies.

The IDX format: two zero bytes, type code, number of dimensions, sizes as big-endian uint32, then the values.  MNIST-C
holds MNIST's pictures as its authors corrupted them: one archive for all corruptions, packed or unpacked.
"""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool, Reader
from glitchtrace.data.raw_files import RawFile, cache_folder, checksum, find, locate

KIND = "dataset"
CARDS = {
    "fmnist": {
        "summary": "Fashion-MNIST pictures of clothing, 28 × 28 grey pixels, official training and test part.",
        "modality": "image",
        "classes": 10,
        "rows": {"train": 60000, "test": 10000},
        "shape": [28, 28],
        "foreign": "mnist",
        "licence": "MIT",
        "citation": "Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv 1708.07747, 2017",
        "source": "the mirrors that torchvision names (`torchvision.datasets.FashionMNIST`)",
    },
    "mnist": {
        "summary": "MNIST handwritten digits, 28 × 28 grey pixels, official training and test part.",
        "modality": "image",
        "classes": 10,
        "rows": {"train": 60000, "test": 10000},
        "shape": [28, 28],
        "foreign": "fmnist",
        "licence": "none stated by the authors",
        "citation": "LeCun et al.: Gradient-based learning applied to document recognition, Proc. IEEE, 1998",
        "source": "the mirrors that torchvision names (`torchvision.datasets.MNIST`)",
    },
    "mnist17": {
        "summary": "The digits 7 (label 0) and 1 (label 1) of MNIST, without the first 100 training pictures.",
        "modality": "image",
        "classes": 2,
        "rows": {"train": 12983, "test": 2163},
        "shape": [28, 28],
        "foreign": "fmnist",
        "licence": "none stated by the authors",
        "citation": "LeCun et al.: Gradient-based learning applied to document recognition, Proc. IEEE, 1998",
        "source": "as mnist",
    },
    "mnist49": {
        "summary": "The digits 4 and 9 of MNIST, official training and test part.",
        "modality": "image",
        "classes": 2,
        "rows": {"train": 11791, "test": 1991},
        "shape": [28, 28],
        "foreign": "fmnist",
        "licence": "none stated by the authors",
        "citation": "LeCun et al.: Gradient-based learning applied to document recognition, Proc. IEEE, 1998",
        "source": "as mnist",
    },
    "mnist_c_brightness": {
        "summary": "MNIST-C, brightness: corrupted copies of MNIST's pictures, as published, to replace some of them.",
        "modality": "image",
        "classes": 10,
        "rows": {"train": 60000, "test": 10000},
        "shape": [28, 28],
        "foreign_only": True,
        "licence": "CC BY 4.0",
        "citation": "Mu, Gilmer: MNIST-C: a robustness benchmark for computer vision, 2019",
        "source": "https://zenodo.org/record/3239543/files/mnist_c.zip",
    },
    "mnist_c_stripe": {
        "summary": "MNIST-C, stripe: corrupted copies of MNIST's pictures, as published, to replace some of them.",
        "modality": "image",
        "classes": 10,
        "rows": {"train": 60000, "test": 10000},
        "shape": [28, 28],
        "foreign_only": True,
        "licence": "CC BY 4.0",
        "citation": "Mu, Gilmer: MNIST-C: a robustness benchmark for computer vision, 2019",
        "source": "https://zenodo.org/record/3239543/files/mnist_c.zip",
    },
}

_UNSIGNED_BYTE = 0x08
DIGITS = tuple("0123456789")
CLOTHES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def _files(folder: str, *digests: str) -> tuple[RawFile, ...]:
    """The four files of a dataset: pictures and labels of the training part, then of the test part."""
    names = (
        f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    )
    return tuple(
        RawFile(f"{folder}/{name}", f"md5:{digest}") for name, digest in zip(names, digests, strict=True)
    )


MNIST = _files(
    "MNIST/raw",
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
FASHION = _files(
    "FashionMNIST/raw",
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
_SEVEN, _ONE = 7, 1
_CUT = 100  # leading training pictures that the published program leaves out
_PAIR = (4, 9)
ARCHIVE = RawFile("mnist_c.zip", "md5:4b34b33045869ee6d424616cd3a65da3")
ADDRESS = "https://zenodo.org/record/3239543/files/mnist_c.zip"
_PARTS = ("train", "test")
_ARRAYS = {(part, kind): f"{part}_{kind}.npy" for part in _PARTS for kind in ("images", "labels")}


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """A gzipped IDX file of unsigned bytes with the given number of dimensions, as uint8.

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
    raw_files: Sequence[RawFile],
    class_names: Sequence[str],
    data_root: Path | None,
    mirrors: Callable[[], Sequence[str]],
) -> Pool:
    """A dataset of four IDX files, see ``_files``: training part, then test part.

    ``mirrors``: gives the addresses under which the files are published.
    """
    found = []
    for number, raw in enumerate(raw_files):
        name = Path(raw.path).name
        path = locate(raw, data_root, lambda name=name: [f"{mirror}{name}" for mirror in mirrors()])  # type: ignore[misc]
        found.append(read_idx(path, dimensions=1 if number % 2 else 3))
    labels = np.concatenate(found[1::2]).astype(np.int64)
    training = len(found[1])
    return Pool(
        features=np.concatenate(found[::2]),
        labels=labels,
        class_names=tuple(class_names),
        parts={"train": (0, training), "test": (training, len(labels))},
        checksums={Path(raw.path).name: raw.checksum for raw in raw_files},
    )


def load_mnist(data_root: Path | None) -> Pool:
    """All 70,000 rows: ``MNIST/raw`` of the data folder, else torchvision's mirrors."""

    def mirrors() -> Sequence[str]:
        from torchvision import datasets

        return list(datasets.MNIST.mirrors)

    return load_idx(MNIST, DIGITS, data_root, mirrors)


def load_fashion(data_root: Path | None) -> Pool:
    """All 70,000 rows: ``FashionMNIST/raw`` of the data folder, else torchvision's mirrors."""

    def mirrors() -> Sequence[str]:
        from torchvision import datasets

        return list(datasets.FashionMNIST.mirrors)

    return load_idx(FASHION, CLOTHES, data_root, mirrors)


def load_seven_one(data_root: Path | None) -> Pool:
    """RDIA's 15,146 pictures of 7 and 1, the training part first, in the order of MNIST."""
    whole = load_mnist(data_root)
    first, last = whole.parts["train"]
    rows = np.flatnonzero(np.isin(whole.labels, (_SEVEN, _ONE)))
    rows = rows[rows >= first + _CUT]
    training = int((rows < last).sum())
    return Pool(
        features=whole.features[rows],
        labels=(whole.labels[rows] == _ONE).astype(np.int64),
        class_names=(str(_SEVEN), str(_ONE)),
        parts={"train": (0, training), "test": (training, len(rows))},
        checksums=whole.checksums,
    )


def load_four_nine(data_root: Path | None) -> Pool:
    """The rows of the two digits in the order of MNIST; label 0 is the 4, label 1 the 9."""
    whole = load_mnist(data_root)
    chosen = np.isin(whole.labels, _PAIR)
    bounds = np.cumsum([0, *(int(chosen[slice(*rows)].sum()) for rows in whole.parts.values())]).tolist()
    return Pool(
        features=whole.features[chosen],
        labels=(whole.labels[chosen] == _PAIR[1]).astype(np.int64),
        class_names=tuple(str(digit) for digit in _PAIR),
        parts=dict(zip(whole.parts, pairwise(bounds), strict=True)),
        checksums=whole.checksums,
    )


def load_corruption(name: str, data_root: Path | None) -> Pool:
    """All 70,000 pictures under one corruption, in the order of MNIST, the training part first.

    From the archive in the data folder, else from its unpacked arrays ``mnist_c/<name>/`` there, else downloaded.
    Only the archive is published with a checksum; those of unpacked arrays are recorded.  Raises GlitchtraceError
    where the archive has no such pictures, and where an unpacked array is missing or of other pictures.
    """
    folder = next((path for path in _unpacked(name, data_root) if path.is_dir()), None)
    if folder and not find(ARCHIVE, data_root):
        arrays = _read_arrays(lambda file: (folder / file).read_bytes(), folder, "files")
        checksums = {f"mnist_c/{name}/{file}": checksum(folder / file, "sha256") for file in _ARRAYS.values()}
        return _corrupted_pool(arrays, checksums, folder)
    path = locate(ARCHIVE, data_root, lambda: [ADDRESS])
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _read_arrays(lambda file: archive.read(f"mnist_c/{name}/{file}"), path, "archive")
    except zipfile.BadZipFile as error:
        raise GlitchtraceError(
            f"{path}: not the expected archive ({error}); replace it by the original"
        ) from None
    return _corrupted_pool(arrays, {ARCHIVE.path: ARCHIVE.checksum}, path)


def _unpacked(name: str, data_root: Path | None) -> list[Path]:
    return [folder / "mnist_c" / name for folder in (data_root, cache_folder()) if folder]


def _read_arrays(read: Callable[[str], bytes], path: Path, what: str) -> dict[tuple[str, str], np.ndarray]:
    """(part, kind) -> array, from the content of each file."""
    try:
        return {key: np.load(io.BytesIO(read(file)), allow_pickle=False) for key, file in _ARRAYS.items()}
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
        raise GlitchtraceError(
            f"{path}: not the expected {what} ({error}); replace it by the original"
        ) from None


def _corrupted_pool(arrays: dict[tuple[str, str], np.ndarray], checksums: dict[str, str], path: Path) -> Pool:
    for part in _PARTS:
        found, counted = arrays[part, "images"].shape, arrays[part, "labels"].shape
        if found[:3] != (*counted, 28, 28):
            raise GlitchtraceError(
                f"{path}: {part} pictures of shape {found} and labels of shape {counted}; expected one label "
                "per picture of 28 x 28 pixels: replace it by the original"
            )
    count = len(arrays["train", "labels"])
    labels = np.concatenate([arrays[part, "labels"] for part in _PARTS]).astype(np.int64)
    pictures = np.concatenate([arrays[part, "images"] for part in _PARTS])
    return Pool(
        features=pictures.reshape(len(labels), 28, 28).astype(np.uint8),
        labels=labels,
        class_names=DIGITS,
        parts={"train": (0, count), "test": (count, len(labels))},
        checksums=checksums,
    )


COMPONENTS = {
    "fmnist": Reader(load_fashion, FASHION),
    "mnist": Reader(load_mnist, MNIST),
    "mnist17": Reader(load_seven_one, MNIST),
    "mnist49": Reader(load_four_nine, MNIST),
    "mnist_c_brightness": Reader(partial(load_corruption, "brightness"), (ARCHIVE,)),
    "mnist_c_stripe": Reader(partial(load_corruption, "stripe"), (ARCHIVE,)),
}
