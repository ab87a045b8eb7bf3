"""Fashion-MNIST: pictures of clothing, 28 × 28 grey pixels."""

from collections.abc import Sequence
from pathlib import Path

from glitchtrace.data.idx import load_idx
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "Fashion-MNIST pictures of clothing, 28 × 28 grey pixels, official training and test part.",
    "modality": "image",
    "classes": 10,
    "rows": {"train": 60000, "test": 10000},
    "shape": [28, 28],
    "foreign": "mnist",
    "greyscale": True,
    "convolution_size": None,
    "licence": "MIT",
    "citation": "Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv 1708.07747, 2017",
}

CLASS_NAMES = (
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
MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


def load(data_root: Path | None) -> Pool:
    """All 70,000 rows: ``FashionMNIST/raw`` of the data folder, else torchvision's mirrors."""
    return load_idx("FashionMNIST/raw", MD5, CLASS_NAMES, data_root, _mirrors)


def _mirrors() -> Sequence[str]:
    from torchvision.datasets import FashionMNIST

    return FashionMNIST.mirrors
