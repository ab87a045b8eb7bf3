"""Epsilon: 200 rows that lie in a public repository, enough to see that a study runs."""

from pathlib import Path

import numpy as np

from glitchtrace.data.cifar import read_arrays
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate

KIND = "dataset"
CARD = {
    "summary": "Epsilon, 100 training and 100 test rows of 2,000 numeric columns: for smoke tests only.",
    "modality": "table",
    "classes": 2,
    "rows": {"train": 100, "test": 100},
    "shape": [2000],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated",
    "citation": "Sonnenburg et al.: Pascal large scale learning challenge, 2008",
}

ROWS = RawFile(
    "tabular/epsilon_sample200.npz", "sha256:16be8184f10987ddcccfd7c1c80bdb2f4d956df347e45c2d7d277630705e7da7"
)
CLASS_NAMES = ("-1", "+1")
COLUMNS = tuple(f"x{number}" for number in range(1, 2001))


def load(data_root: Path | None) -> Pool:
    """All 200 rows, the training part first; the file has no download."""
    train, train_labels, test, test_labels = read_arrays(
        locate(ROWS, data_root), ("x_train", "y_train", "x_test", "y_test")
    )
    count = len(train) + len(test)
    return Pool(
        features=np.concatenate([train, test]).astype(np.float32),
        labels=(np.concatenate([train_labels, test_labels]) > 0).astype(np.int64),
        class_names=CLASS_NAMES,
        parts={"train": (0, len(train)), "test": (len(train), count)},
        columns=COLUMNS,
        checksums={ROWS.path: ROWS.checksum},
    )
