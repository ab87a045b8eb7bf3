"""MNIST-C, brightness: the published corrupted pictures, picture by picture those of MNIST."""

from pathlib import Path

from glitchtrace.data import mnist_c
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "MNIST pictures under the corruption brightness, as published (MNIST-C); replaces pictures of MNIST.",
    "modality": "image",
    "classes": 10,
    "rows": {"train": 60000, "test": 10000},
    "shape": [28, 28],
    "foreign": None,
    "foreign_only": True,
    "greyscale": True,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Mu, Gilmer: MNIST-C: a robustness benchmark for computer vision, 2019",
}


def load(data_root: Path | None) -> Pool:
    """All 70,000 pictures, in the order of MNIST."""
    return mnist_c.load_corruption("brightness", data_root)
