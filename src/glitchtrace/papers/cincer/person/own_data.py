"""A file of the person's own as a dataset of the loop: read as the audit reads it.

Numbers stand as they are, a missing one as the median of its column; those that float32 would make the same, such as
time stamps, are standardised before.  Categories stand as categories, a missing one as one of its own.  Columns of
text are left out, as is what tells nothing (see ``glitchtrace.audit``).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glitchtrace.audit import samples as audit_samples
from glitchtrace.audit.settings import Settings
from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool
from glitchtrace.data.table_files import Column
from glitchtrace.data.tables import MISSING, standardised

NAME = "own_data"
_COMPONENT = '''"""The data of this session, written by its program."""

from glitchtrace.papers.cincer.person.own_data import read

KIND = "dataset"
CARD = {card!r}


def load(_):
    return read({path!r}, {label!r})
'''


@dataclass(frozen=True)
class _Columns:
    """Values (n, d) float32, names of columns, and the categories of those that hold such."""

    values: list[np.ndarray]
    names: list[str]
    categories: dict[str, tuple[str, ...]]


def read(path: str, label: str) -> Pool:
    """All rows of a table (CSV, TSV, Parquet, Feather), ``label`` being its column, or of an array (n, d) as ``.npy``.

    ``label`` of an array: the ``.npy`` file of its labels.  Raises GlitchtraceError for what cannot be read, a row
    without a label, a numeric target, and pictures.
    """
    own = audit_samples.read(path, Settings(label=label, task="classes"))
    if own.kind == "pictures":
        raise GlitchtraceError(
            f"{path}: a folder of pictures; give their features as .npy, with their labels"
        )
    assert own.labels is not None
    missing = np.flatnonzero(own.labels < 0)
    if len(missing):
        raise GlitchtraceError(
            f"{path}, row {own.ids[missing[0]]}: it has no label, as {len(missing)} rows of {len(own)}; "
            "leave these rows out"
        )
    if own.features is None:
        columns = _columns(path, own.columns)
    else:
        names = [f"feature {place}" for place in range(own.features.shape[1])]
        columns = _Columns(list(own.features.T), names, {})
    features = np.stack(columns.values, axis=1).astype(np.float32)
    pool = Pool(
        features=np.ascontiguousarray(features),
        labels=own.labels.astype(np.int64),
        class_names=own.class_names,
        parts={"all": (0, len(own))},
        columns=tuple(columns.names),
        categories=columns.categories,
        checksums={"file": own.digest},
    )
    pool.check(path)
    return pool


def register(path: str, label: str, folder: Path) -> str:
    """Make the file a dataset that the configuration knows, by a component in ``folder``; its name."""
    pool = read(path, label)
    card = {
        "name": NAME,
        "summary": "A file of the person's own.",
        "modality": "table",
        "classes": len(pool.class_names),
        "rows": {"all": len(pool.labels)},
        "shape": list(pool.features.shape[1:]),
        "licence": "the owner's",
        "citation": "none",
        "source": "the owner",
    }
    if pool.categories:
        card["shape"] = [_width(pool)]
    component = folder / f"{NAME}.py"
    files.write_text(_COMPONENT.format(card=card, path=str(Path(path).resolve()), label=label), component)
    registry.add([str(component)])
    return NAME


def _columns(path: str, columns: tuple[Column, ...]) -> _Columns:
    """The columns that a model of the loop can take."""
    values, names, categories = [], [], {}
    for column in columns:
        if column.role in ("numeric", "date", "boolean"):
            numbers = column.values.astype(np.float64)
            known = numbers[np.isfinite(numbers)]
            filled = np.where(np.isfinite(numbers), numbers, np.median(known) if len(known) else 0.0)
            values.append(standardised(filled))
            names.append(column.name)
        elif column.role == "categorical":
            found = column.categories
            if (column.values < 0).any():
                found = (*found, MISSING)
            values.append(np.where(column.values < 0, len(column.categories), column.values))
            names.append(column.name)
            categories[column.name] = found
        elif column.role == "embedding":
            known = column.values[~column.missing()]
            values += list(np.where(column.missing()[:, None], known.mean(axis=0), column.values).T)
            names += [f"{column.name} {place}" for place in range(column.values.shape[1])]
    if not values:
        raise GlitchtraceError(f"{path}: no column of numbers or categories; give features as .npy")
    return _Columns(values, names, categories)


def _width(pool: Pool) -> int:
    """Number of inputs once categories are one-hot, see ``problem.one_hot``."""
    width = len(pool.columns or ()) - len(pool.categories)
    for names in pool.categories.values():
        known = len(names) - (MISSING in names)
        width += 1 if known == 2 else known
    return width
