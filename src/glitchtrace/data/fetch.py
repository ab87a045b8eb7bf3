"""Stage function of the rule ``fetch_data``: all rows of a base dataset, once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool
from glitchtrace.data.sparse import write_sparse
from glitchtrace.data.tables import MISSING


def fetch_data(
    *,
    dataset: str,
    features: str | Path,
    labels: str | Path,
    description: str | Path,
    data_root: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write all rows of a base dataset: its features, ``labels.npy`` and ``source.json``.

    Features are ``features.npy``, or ``features.npz`` (see ``data.sparse``) of a dataset of the modality sparse.

    ``data_root``: the folder of raw data; None takes the environment variable GLITCHTRACE_DATA, and where
    that is unset a cache folder in the user's home.  ``settings``: those of a dataset of the user's own, which say
    where it is; None for any other.  Raises GlitchtraceError where raw files are missing,
    altered or unusable; then nothing is written.
    """
    root = data_root or os.environ.get("GLITCHTRACE_DATA")
    reader = registry.load("dataset", dataset)
    folder = Path(root).expanduser() if root else None
    pool = reader.load(folder) if settings is None else reader.read(settings)
    if not isinstance(pool, Pool):
        raise GlitchtraceError(
            f"{registry.place('dataset', dataset)}: load returned {type(pool).__name__}; return a data.pool.Pool"
        )
    pool.check(dataset)
    check_against_card(pool, dataset)
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


def check_against_card(pool: Pool, dataset: str) -> None:
    """Raise GlitchtraceError where rows, classes or shape of a pool are not those that the card of the dataset says.

    The workflow plans splits, memory and legality with the card before any data are read.  A card that names no
    rows or no shape leaves them open.
    """
    card = registry.card("dataset", dataset)
    # A column per number and per category, one for two categories; a missing value has none.
    known = {name: [word for word in words if word != MISSING] for name, words in pool.categories.items()}
    width = sum(len(known.get(name, "x")) - (len(known.get(name, ())) == 2) for name in pool.columns or ())
    shape = [width] if pool.columns else list(pool.features.shape[1:])
    found = {
        "rows": {part: end - first for part, (first, end) in pool.parts.items()},
        "classes": len(pool.class_names),
        "shape": shape,
    }
    for key, value in found.items():
        if card[key] and card[key] != value:
            raise GlitchtraceError(
                f"dataset {dataset}: its card says {key} {card[key]}, its data have {value}; mend the card or the files"
            )
