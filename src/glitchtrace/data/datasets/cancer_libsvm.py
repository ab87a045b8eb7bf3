"""Breast cancer (original Wisconsin), scaled, in the order of the LIBSVM data page."""

from pathlib import Path

from glitchtrace.data.cifar import read_arrays
from glitchtrace.data.libsvm import binary_pool, find_libsvm, load_libsvm
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, find

KIND = "dataset"
CARD = {
    "summary": "Cell samples, benign (0) or malignant (1), 10 columns scaled to [−1, 1], LIBSVM's order of rows.",
    "modality": "table",
    "classes": 2,
    "rows": {"train": 500, "test": 183},
    "shape": [10],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Wolberg: Breast cancer Wisconsin (original), UCI repository, 1990",
}

ARRAYS = RawFile(
    "tabular/breast_cancer_libsvm_scale.npz",
    "sha256:b14bff29ac710ea3900e42401bd2c773516220ab9631cb351a65691aa58047f8",
)
PARTS = {"train": (0, 500), "test": (500, 683)}
NAMES = ("benign", "malignant")


def load(data_root: Path | None) -> Pool:
    """683 rows: ``LIBSVM/breast-cancer_scale`` of the data folder, else the same as arrays."""
    file = "breast-cancer_scale"
    arrays = None if find_libsvm(file, data_root) else find(ARRAYS, data_root)
    if arrays is None:
        # Where neither is at hand, what is asked for is the file that is published.
        return load_libsvm({"all": file}, data_root, columns=10, parts=PARTS, class_names=NAMES)
    features, labels = read_arrays(arrays, ("data", "label"))
    checksums = {ARRAYS.path: ARRAYS.checksum}
    return binary_pool(features, labels, parts=PARTS, checksums=checksums, class_names=NAMES)
