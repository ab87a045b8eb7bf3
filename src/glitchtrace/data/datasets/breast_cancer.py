"""Breast cancer: measurements of cell nuclei, malignant or benign, shipped with scikit-learn."""

from pathlib import Path

from glitchtrace.data.pool import Pool, from_table

KIND = "dataset"
CARD = {
    "summary": "Measurements of cell nuclei, malignant or benign, 30 columns, shipped with scikit-learn.",
    "modality": "table",
    "classes": 2,
    "rows": {"all": 569},
    "shape": [30],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Wolberg, Mangasarian, Street: Breast cancer Wisconsin (diagnostic), UCI repository, 1995",
}


def load(data_root: Path | None) -> Pool:
    """All 569 rows, as shipped."""
    from sklearn.datasets import load_breast_cancer

    return from_table(load_breast_cancer())
