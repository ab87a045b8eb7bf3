"""Jannis: an anonymous table of the AutoML challenge; all rows, from OpenML."""

from pathlib import Path

from glitchtrace.data.datasets.jannis_sample import CLASSES, COLUMNS
from glitchtrace.data.openml import fetch_frame
from glitchtrace.data.pool import Pool
from glitchtrace.data.tables import encode

KIND = "dataset"
CARD = {
    "summary": "Jannis, all rows: an anonymous table of four classes, 54 numeric columns, from OpenML.",
    "modality": "table",
    "classes": 4,
    "rows": {"all": 83733},
    "shape": [54],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "public on OpenML, none stated by the authors",
    "citation": "Guyon et al.: Analysis of the AutoML challenge series 2015-2018, AutoML, Springer, 2019",
}

OPENML = 41168


def load(data_root: Path | None) -> Pool:
    """All 83,733 rows in OpenML's order."""
    frame, checksums = fetch_frame("jannis", OPENML, data_root)
    frame["class"] = frame["class"].astype(str).astype(int)
    return encode(
        frame,
        origin=f"OpenML {OPENML}",
        columns=COLUMNS,
        categorical=(),
        label="class",
        classes=CLASSES,
        parts={"all": (0, len(frame))},
        checksums=checksums,
    )
