"""Wine: chemical analysis of wines of three cultivars, shipped with scikit-learn."""

from pathlib import Path

from glitchtrace.data.pool import Pool, from_table

KIND = "dataset"
CARD = {
    "summary": "Chemical analysis of wines of three cultivars, 13 columns, shipped with scikit-learn.",
    "modality": "table",
    "classes": 3,
    "rows": {"all": 178},
    "shape": [13],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Aeberhard, Forina: Wine, UCI repository, 1992",
}


def load(data_root: Path | None) -> Pool:
    """All 178 rows, as shipped."""
    from sklearn.datasets import load_wine

    return from_table(load_wine())
