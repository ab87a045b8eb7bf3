"""Stage function of the rule ``fetch_data``: all rows of a base dataset, once."""

import os
from pathlib import Path

from glitchtrace.core import files, registry
from glitchtrace.data.sparse import write_sparse


def fetch_data(
    *,
    dataset: str,
    features: str | Path,
    labels: str | Path,
    description: str | Path,
    data_root: str | Path | None = None,
) -> None:
    """Write all rows of a base dataset: its features, ``labels.npy`` and ``source.json``.

    Features are ``features.npy``, or ``features.npz`` (see ``data.sparse``) of a dataset of the modality sparse.

    ``data_root``: the folder of raw data; None takes the environment variable GLITCHTRACE_DATA, and where
    that is unset a cache folder in the user's home.  Raises GlitchtraceError where raw files are missing,
    altered or unusable; then nothing is written.
    """
    root = data_root or os.environ.get("GLITCHTRACE_DATA")
    pool = registry.load("dataset", dataset).load(Path(root).expanduser() if root else None)
    pool.check(dataset)
    if registry.card("dataset", dataset)["modality"] == "sparse":
        write_sparse(pool.features, features)
    else:
        files.write_npy(pool.features, features)
    files.write_npy(pool.labels, labels)
    files.write_record(
        {
            "modality": registry.card("dataset", dataset)["modality"],
            "classes": list(pool.class_names),
            "parts": {part: list(bounds) for part, bounds in pool.parts.items()},
            "columns": list(pool.columns) if pool.columns else None,
            "categories": {column: list(names) for column, names in pool.categories.items()},
            "checksums": dict(pool.checksums),
        },
        description,
    )
