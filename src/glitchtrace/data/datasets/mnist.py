"""MNIST: handwritten digits, 28 × 28 grey pixels."""

from collections.abc import Sequence
from pathlib import Path

from glitchtrace.data.idx import load_idx
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "MNIST handwritten digits, 28 × 28 grey pixels, official training and test part.",
    "modality": "image",
    "classes": 10,
    "rows": {"train": 60000, "test": 10000},
    "shape": [28, 28],
    "foreign": "fmnist",
    "greyscale": True,
    "convolution_size": None,
    "licence": "none stated by the authors",
    "citation": "LeCun et al.: Gradient-based learning applied to document recognition, Proc. IEEE, 1998",
}

MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


def load(data_root: Path | None) -> Pool:
    """All 70,000 rows: ``MNIST/raw`` of the data folder, else torchvision's mirrors."""
    return load_idx("MNIST/raw", MD5, tuple("0123456789"), data_root, _mirrors)


def _mirrors() -> Sequence[str]:
    from torchvision.datasets import MNIST

    return MNIST.mirrors
