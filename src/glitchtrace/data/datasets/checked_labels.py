"""Test parts whose labels people have checked, with the labels that people gave; official ones: ``official_labels``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import annotations
from glitchtrace.data.datasets import colour_pictures, idx, text
from glitchtrace.data.pool import Pool, Reader
from glitchtrace.data.raw_files import RawFile

KIND = "dataset"
CARDS = {
    "cifar10_checked": {
        "summary": "The test pictures of CIFAR-10 (JPEG); labels that five people did not keep are corrected.",
        "modality": "image",
        "classes": 10,
        "rows": {"all": 10000},
        "shape": [32, 32, 3],
        "foreign": "fmnist",
        "licence": "Apache-2.0 (labels); none stated (pictures)",
        "citation": "Northcutt, Athalye, Mueller: Pervasive label errors in test sets, NeurIPS 2021",
        "source": "none to download: the files lie in the data folder",
    },
    "cifar10h": {
        "summary": "The test pictures of CIFAR-10 (JPEG) under the label that most of about 51 people gave.",
        "modality": "image",
        "classes": 10,
        "rows": {"all": 10000},
        "shape": [32, 32, 3],
        "foreign": "fmnist",
        "licence": "CC BY-NC-SA 4.0 (labels); none stated (pictures)",
        "citation": "Peterson et al.: Human uncertainty makes classification more robust, ICCV 2019",
        "source": "none to download: the files lie in the data folder",
    },
    "mnist_checked": {
        "summary": "The test pictures of MNIST; labels that five people did not keep are corrected.",
        "modality": "image",
        "classes": 10,
        "rows": {"all": 10000},
        "shape": [28, 28],
        "foreign": "fmnist",
        "licence": "Apache-2.0 (labels); none stated (pictures)",
        "citation": "Northcutt, Athalye, Mueller: Pervasive label errors in test sets, NeurIPS 2021",
        "source": "labels: none to download; pictures as mnist",
    },
    "newsgroups_checked": {
        "summary": "The later postings of 20 newsgroups; labels that five people did not keep are corrected.",
        "modality": "table",
        "classes": 20,
        "rows": {"all": 7532},
        "shape": [100],
        "licence": "Apache-2.0 (labels); none stated (postings)",
        "citation": "Northcutt, Athalye, Mueller: Pervasive label errors in test sets, NeurIPS 2021",
        "source": "labels: none to download; postings as newsgroups",
    },
}


def load_checked(
    name: str, whole: Callable[[Path | None], Pool], files: tuple[RawFile, ...], data_root: Path | None
) -> Pool:
    """The test part of a pool under the labels that people gave.

    Raises GlitchtraceError where the official labels beside those of people are not those of the pool.
    """
    labels = annotations.SETS[name](data_root)
    pool = whole(data_root)
    first, last = pool.parts["test"]
    if not np.array_equal(pool.labels[first:last], labels["official"]):
        raise GlitchtraceError(
            f"dataset {name}: the official labels beside those of people are not those of the pictures or postings; "
            f"replace {files[0].path} by the original"
        )
    return Pool(
        features=pool.features[first:last],
        labels=labels["clean"].to_numpy(np.int64),
        class_names=pool.class_names,
        parts={"all": (0, last - first)},
        columns=pool.columns,
        checksums={**pool.checksums, **{raw.path: raw.checksum for raw in files}},
    )


def _reader(
    name: str,
    whole: Callable[[Path | None], Pool],
    labels: tuple[RawFile, ...],
    samples: tuple[RawFile, ...],
) -> Reader:
    return Reader(partial(load_checked, name, whole, labels), (*labels, *samples))


_JPEG = tuple(colour_pictures.JPEG.values())
COMPONENTS = {
    "cifar10_checked": _reader(
        "cifar10_checked", colour_pictures.load_jpeg, annotations.CHECKED["cifar10_checked"], _JPEG
    ),
    "cifar10h": _reader("cifar10h", colour_pictures.load_jpeg, (annotations.CIFAR10H,), _JPEG),
    "mnist_checked": _reader(
        "mnist_checked", idx.load_mnist, annotations.CHECKED["mnist_checked"], idx.MNIST
    ),
    "newsgroups_checked": _reader(
        "newsgroups_checked",
        text.load_newsgroups,
        annotations.CHECKED["newsgroups_checked"],
        (text.TABLE, text.ARCHIVE),
    ),
}
