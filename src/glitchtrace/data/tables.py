"""Tables with named columns, encoded for storage: numbers as they are, categories as codes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool

if TYPE_CHECKING:
    import pandas as pd

# The category of a missing value; it comes after all others.
MISSING = "missing"
# Integers up to here are exact in float32, as features are stored.
EXACT = 2**24


def read_frame(path: Path) -> "pd.DataFrame":
    """The table in a parquet file.  Raises GlitchtraceError where the file is none such."""
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise GlitchtraceError(f"{path}: not a parquet file ({reason}); replace it by the original") from None


def encode(
    frame: "pd.DataFrame",
    *,
    origin: str,
    columns: Sequence[str],
    categorical: Sequence[str],
    label: str,
    classes: Mapping[object, str],
    parts: Mapping[str, tuple[int, int]],
    checksums: Mapping[str, str],
) -> Pool:
    """A table as a Pool: ``columns`` in their order, those of ``categorical`` as codes, ``label`` as 0 … K−1.

    The categories of a column are its values, sorted as text; the code is the position.  A missing category is a
    category of its own, ``missing``, the last; a missing number has no such treatment and is refused by the
    Pool's check.  ``classes``: value in the column ``label`` -> name of the class, in the order of the labels.
    ``origin``: the table's name in messages.

    Raises GlitchtraceError where a column is missing, a column of numbers holds something else or integers that
    float32 cannot, a label is no class or among the features, and a categorical column is no feature.
    """
    if label in columns:
        raise GlitchtraceError(f"{origin}: the label '{label}' is among the features; take it out of columns")
    unknown = [name for name in categorical if name not in columns]
    if unknown:
        raise GlitchtraceError(
            f"{origin}: categorical '{unknown[0]}' is no feature; known: {', '.join(map(str, columns[:8]))}"
        )
    check_columns(frame, [*columns, label], origin)
    features = np.empty((len(frame), len(columns)), dtype=np.float32)
    categories = {}
    for position, name in enumerate(columns):
        if name in categorical:
            features[:, position], categories[name] = _codes(frame[name])
        else:
            features[:, position] = _numbers(frame[name], origin)
    return Pool(
        features=features,
        labels=labels_of(frame[label], classes, origin),
        class_names=tuple(classes.values()),
        parts=parts,
        columns=tuple(columns),
        categories=categories,
        checksums=checksums,
    )


def check_columns(frame: "pd.DataFrame", wanted: Sequence[str], origin: str) -> None:
    """Raise GlitchtraceError, naming ``origin``, where a wanted column is missing or there twice, or no row is."""
    wanted = list(wanted)
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise GlitchtraceError(
            f"{origin}: column '{missing[0]}' is missing ({len(missing)} of {len(wanted)} wanted columns are); "
            f"the table has {', '.join(map(str, frame.columns[:6]))}, …: replace it by the original"
        )
    for names, place in ((wanted, "columns names"), (list(frame.columns), "the table has")):
        twice = [name for name in wanted if names.count(name) > 1]
        if twice:
            raise GlitchtraceError(
                f"{origin}: {place} '{twice[0]}' twice; give every column one name of its own"
            )
    if not len(frame):
        raise GlitchtraceError(f"{origin}: the table has no rows; give a table with rows")


def labels_of(column: "pd.Series", classes: Mapping[object, str], origin: str) -> np.ndarray:
    """The position (n,) int64 of each label among ``classes``.  Raises GlitchtraceError for a label that is none."""
    numbers = {value: position for position, value in enumerate(classes)}
    labels = column.map(numbers)
    if labels.isna().any():
        row = int(labels.isna().to_numpy().argmax())
        raise GlitchtraceError(
            f"{origin}: column '{column.name}' holds {column.iloc[row]!r} in row {row}, which is no class; "
            f"known: {', '.join(map(str, classes))}"
        )
    return labels.to_numpy(np.int64)


def standardised(values: np.ndarray) -> np.ndarray:
    """Numbers (n,) float64 as float32; standardised in float64 before where float32 would make different ones the same.

    So it is with time stamps, and with numbers beyond its range.  Models see standardised numbers in any case.
    """
    with np.errstate(over="ignore"):
        stored: np.ndarray = values.astype(np.float32)
    if np.isfinite(stored).all() and len(np.unique(stored)) == len(np.unique(values)):
        return stored
    # Brought near 1 by a power of two, which rounds nothing, so that no square leaves the range of float64.
    near = np.ldexp(values, -np.frexp(np.abs(values).max())[1])
    scaled: np.ndarray = (near - near.mean()) / (near.std() or 1.0)
    return scaled.astype(np.float32)


def _codes(column: "pd.Series") -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes (n,) and the categories behind them."""
    missing = column.isna().to_numpy()
    values = column.astype(str).to_numpy(dtype=object)
    categories = sorted(set(values[~missing]))
    numbers = {value: code for code, value in enumerate(categories)}
    codes = np.array([numbers.get(value, -1) for value in values])
    codes[missing] = len(categories)
    return codes, (*categories, MISSING) if missing.any() else tuple(categories)


def _numbers(column: "pd.Series", origin: str) -> np.ndarray:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise GlitchtraceError(
            f"{origin}: column '{column.name}' holds time stamps, which storage in float32 would change; give days "
            "since the first one as numbers"
        )
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = (numbers.isna() & column.notna()).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise GlitchtraceError(
            f"{origin}: column '{column.name}' holds {column.iloc[row]!r} in row {row}, which is no number; "
            "replace the file by the original"
        )
    exact = numbers.to_numpy(np.float64, na_value=np.nan)
    large = (np.abs(exact) > EXACT) & (exact == np.floor(exact)) & (exact.astype(np.float32) != exact)
    if large.any():
        row = int(large.argmax())
        raise GlitchtraceError(
            f"{origin}: column '{column.name}' holds {column.iloc[row]!r} in row {row}, an integer above 2^24 that "
            "storage in float32 would change; subtract its smallest value, or make it a category"
        )
    stored = exact.astype(np.float32)
    if (
        np.nanmax(np.abs(exact), initial=0) > EXACT
        and pd.Series(stored).nunique() < pd.Series(exact).nunique()
    ):
        raise GlitchtraceError(
            f"{origin}: column '{column.name}' holds different numbers above 2^24 that storage in float32 would make "
            "the same; subtract its smallest value"
        )
    return stored
