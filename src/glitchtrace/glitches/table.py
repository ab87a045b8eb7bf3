"""The sample table: one row per training sample, with what was done to it.

Columns: ``source`` and ``row`` (where the features lie), ``label`` (observed), ``true_label`` (−1 if the
sample belongs to no class of the host), ``source_label`` (label in its own source), ``kind`` (see
``kinds.Kind``), ``corruption`` and ``severity`` (what is done to the picture when it is read, see
``data.corruptions``; empty and 0 where nothing is).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion
from glitchtrace.data.split import TRAIN, rows_of
from glitchtrace.glitches.kinds import Kind

NO_CLASS = -1


@dataclass(frozen=True)
class Foreign:
    """Labels of a foreign source, (N,) in 0 … classes − 1, and part -> (first row, row after the last)."""

    name: str
    labels: np.ndarray
    parts: Mapping[str, tuple[int, int]]
    classes: int


def sample_table(
    source: str,
    rows: np.ndarray,
    label: np.ndarray | int,
    true_label: np.ndarray | int,
    source_label: np.ndarray,
    kind: Kind,
) -> pd.DataFrame:
    """Samples of one source and kind, in the order of ``rows``."""
    return pd.DataFrame(
        {
            "source": [source] * len(rows),
            "row": rows.astype(np.int64),
            "label": np.broadcast_to(label, len(rows)).astype(np.int64),
            "true_label": np.broadcast_to(true_label, len(rows)).astype(np.int64),
            "source_label": source_label.astype(np.int64),
            "kind": np.full(len(rows), kind, dtype=np.int8),
            "corruption": [""] * len(rows),
            "severity": np.zeros(len(rows), dtype=np.int8),
        }
    )


def clean_table(split: pd.DataFrame, labels: np.ndarray, source: str) -> pd.DataFrame:
    """The training rows of a split, all clean; ``labels``: (N,) of the whole source."""
    rows = rows_of(split, TRAIN)
    own = np.asarray(labels[rows])
    return sample_table(source, rows, own, own, own, Kind.CLEAN)


def clean_rows(table: pd.DataFrame) -> np.ndarray:
    """Positions of the samples that no glitch has hit yet, ascending."""
    return np.flatnonzero(table["kind"].to_numpy() == Kind.CLEAN)


def mislabel(table: pd.DataFrame, positions: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """A copy in which the samples at ``positions`` carry other labels and count as mislabelled."""
    observed, kinds = table["label"].to_numpy(copy=True), table["kind"].to_numpy(copy=True)
    observed[positions] = labels
    kinds[positions] = Kind.MISLABELLED
    return table.assign(label=observed, kind=kinds)


def number_of_glitches(ratio: float, samples: int, candidates: int) -> int:
    """The number of samples to hit, floor(ratio·samples), the ratio as written.

    Raises GlitchtraceError unless 1 ≤ number < candidates: a glitch hits somebody and leaves somebody clean.
    """
    count = portion(ratio, samples)
    if count == 0:
        raise GlitchtraceError(
            f"ratio {ratio} of {samples} samples is none; raise the ratio or use more samples"
        )
    if count >= candidates:
        raise GlitchtraceError(
            f"ratio {ratio} of {samples} samples is {count}, but only {candidates} are clean; lower the ratio"
        )
    return count


def check_table(table: object, clean: pd.DataFrame, *, ratio: float, classes: int) -> pd.DataFrame:
    """What a glitch has made of the table ``clean``, where it is a sample table; see the module.

    ``ratio``: 0 where the glitch fixes its own.  Raises GlitchtraceError where columns or values are not those of a
    sample table, where a wrong label is not marked, and where a ratio above 0 has planted nothing: measures of
    detection would be wrong in silence.
    """
    if not isinstance(table, pd.DataFrame):
        raise GlitchtraceError(f"inject returned {type(table).__name__}; return the sample table")
    missing = [column for column in clean.columns if column not in table]
    if missing or not len(table):
        raise GlitchtraceError(
            f"inject returned a table without {missing[0] if missing else 'rows'}; keep them"
        )
    for column, known in (
        ("label", range(classes)),
        ("true_label", range(NO_CLASS, classes)),
        ("kind", list(Kind)),
    ):
        strange = ~table[column].isin([*known])
        if table[column].dtype.kind not in "iu" or strange.any():
            value = table[column][strange].iloc[0] if strange.any() else table[column].dtype
            raise GlitchtraceError(
                f"inject set {column} to {value}; it must be a whole number from {min(known):d} to {max(known):d}"
            )
    wrong = (table["true_label"] != NO_CLASS) & (table["label"] != table["true_label"])
    unmarked = wrong & (table["kind"] != Kind.MISLABELLED)
    if unmarked.any():
        raise GlitchtraceError(
            f"inject returned {unmarked.sum()} rows whose label differs from true_label and whose kind is not "
            "MISLABELLED; change labels by glitches.table.mislabel, which marks them"
        )
    others = ~table["kind"].isin([Kind.CLEAN, Kind.MISLABELLED])
    if ratio > 0 and not (wrong | others).any():
        raise GlitchtraceError(
            f"inject planted nothing at the ratio {ratio:g}; change labels by glitches.table.mislabel, and mark what "
            "else it plants in kind"
        )
    return table


def counts(table: pd.DataFrame) -> dict[str, int]:
    """Number of samples of each kind that occurs, by the kind's name."""
    found = table["kind"].value_counts().sort_index()
    return {Kind(int(kind)).label: int(number) for kind, number in found.items()}  # type: ignore[call-overload]
