"""Iris: sepals and petals of three species, shipped with scikit-learn."""

from pathlib import Path

from glitchtrace.data.pool import Pool, from_table

KIND = "dataset"
CARD = {
    "summary": "Sepals and petals of three species of iris, 4 columns, shipped with scikit-learn.",
    "modality": "table",
    "classes": 3,
    "rows": {"all": 150},
    "shape": [4],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Fisher: The use of multiple measurements in taxonomic problems, 1936",
}


def load(data_root: Path | None) -> Pool:
    """All 150 rows, as shipped."""
    from sklearn.datasets import load_iris

    return from_table(load_iris())
