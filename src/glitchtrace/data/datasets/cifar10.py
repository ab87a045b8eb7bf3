"""CIFAR-10 from the official archive: 32 × 32 colour pictures."""

from collections.abc import Sequence
from pathlib import Path

from glitchtrace.data.cifar import CLASS_NAMES, read_archive
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate

KIND = "dataset"
CARD = {
    "summary": "CIFAR-10, 32 × 32 colour pixels, from the official archive with its training and test part.",
    "modality": "image",
    "classes": 10,
    "rows": {"train": 50000, "test": 10000},
    "shape": [32, 32, 3],
    "foreign": "fmnist",
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated by the authors",
    "citation": "Krizhevsky: Learning multiple layers of features from tiny images, 2009",
}

ARCHIVE = RawFile("cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a")


def load(data_root: Path | None) -> Pool:
    """All rows of the archive, the test batch last: from the data folder, else by torchvision's address."""
    features, labels, training_rows = read_archive(locate(ARCHIVE, data_root, _addresses))
    return Pool(
        features=features,
        labels=labels,
        class_names=CLASS_NAMES,
        parts={"train": (0, training_rows), "test": (training_rows, len(labels))},
        checksums={ARCHIVE.path: ARCHIVE.checksum},
    )


def _addresses() -> Sequence[str]:
    from torchvision.datasets import CIFAR10

    return [CIFAR10.url]
