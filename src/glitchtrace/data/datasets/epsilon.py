"""Epsilon: an artificial table of the Pascal large scale learning challenge; all rows."""

import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.datasets.epsilon_sample import CLASS_NAMES, COLUMNS
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate

KIND = "dataset"
CARD = {
    "summary": "Epsilon, all rows: an artificial table of two classes, 2,000 numeric columns, training and test part.",
    "modality": "table",
    "classes": 2,
    "rows": {"train": 400000, "test": 100000},
    "shape": [2000],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated",
    "citation": "Sonnenburg et al.: Pascal large scale learning challenge, 2008",
    # The features are 3.8 GiB.
    "memory_mib": 6000,
}

# The only form of it that is published with a checksum, by the authors of CatBoost.
ARCHIVE = RawFile("epsilon.tar.gz", "md5:5bbfac403ac673da7d7ee84bd532e973")
ADDRESS = "https://storage.mds.yandex.net/get-devtools-opensource/250854/epsilon.tar.gz"
_PARTS = {"train.tsv": "train", "test.tsv": "test"}


def load(data_root: Path | None) -> Pool:
    """All 500,000 rows, the training part first: from the data folder, else downloaded (about 12 GB)."""
    path = locate(ARCHIVE, data_root, lambda: [ADDRESS])
    rows: dict[str, int] = CARD["rows"]  # type: ignore[assignment]
    features, labels = read_archive(path, rows)
    return Pool(
        features=features,
        labels=labels,
        class_names=CLASS_NAMES,
        parts={"train": (0, rows["train"]), "test": (rows["train"], len(labels))},
        columns=COLUMNS,
        checksums={ARCHIVE.path: ARCHIVE.checksum},
    )


def read_archive(path: Path, rows: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 (N, 2000) and labels int64 (N,), 0 for −1 and 1 for +1, read line by line.

    Each line of a file is the label and the columns, divided by tabulators; ``rows``: part -> number of lines.
    Raises GlitchtraceError where the archive lacks a file or a file has other lines.
    """
    features = np.empty((sum(rows.values()), len(COLUMNS)), dtype=np.float32)
    labels = np.empty(len(features), dtype=np.int64)
    found = 0
    try:
        with tarfile.open(path, "r:gz") as archive:
            # Members in the archive's own order, so that it is unpacked once.
            for member in archive:
                part = _PARTS.get(Path(member.name).name)
                if part is None:
                    continue
                start = 0 if part == "train" else rows["train"]
                row = start
                for row, line in enumerate(archive.extractfile(member), start=start):  # type: ignore[arg-type]
                    values = np.array(line.split(b"\t"), dtype=np.float32)
                    labels[row], features[row] = values[0] > 0, values[1:]
                if row + 1 != start + rows[part]:
                    raise ValueError(f"{member.name} has {row + 1 - start} rows, {rows[part]} expected")
                found += rows[part]
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, IndexError) as error:
        raise GlitchtraceError(
            f"{path}: not the expected archive ({error}); replace it by the original"
        ) from None
    if found != len(labels):
        raise GlitchtraceError(f"{path}: it lacks {' or '.join(_PARTS)}; replace it by the original")
    return features, labels
