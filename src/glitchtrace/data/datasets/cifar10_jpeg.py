"""All 60,000 CIFAR-10 pictures as JPEG: a dataset of its own, never mixed with the lossless ones."""

from pathlib import Path

import numpy as np

from glitchtrace.data.cifar import CLASS_NAMES, decode_jpeg, read_arrays
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate

KIND = "dataset"
CARD = {
    "summary": "CIFAR-10 as JPEG of quality about 75: all pictures in official order, at a visible loss.",
    "modality": "image",
    "classes": 10,
    "rows": {"train": 50000, "test": 10000},
    "shape": [32, 32, 3],
    "foreign": "fmnist",
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated",
    "citation": "Krizhevsky: Learning multiple layers of features from tiny images, 2009",
}

PICTURES = {
    "train": RawFile(
        "CIFAR10/cifar10_train_jpeg.npz",
        "sha256:d6c939fb2ffa123a986b05777750c06939b837c3d93ba0cbe8ac68424920fb3d",
    ),
    "test": RawFile(
        "CIFAR10/cifar10_test_jpeg.npz",
        "sha256:c10281898a646c1f665f43a541bede6fe8b3a7f251c8ae599c4dae2826df5c43",
    ),
}


def load(data_root: Path | None) -> Pool:
    """All 60,000 rows, decoded, the training part first; the files have no download."""
    paths = {part: locate(raw, data_root) for part, raw in PICTURES.items()}
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
        checksums={raw.path: raw.checksum for raw in PICTURES.values()},
    )
