"""Tables for readers: mean ± standard deviation over seeds, as CSV, as Markdown and on the terminal."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import replacing, write_text
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.statistics import estimate
from glitchtrace.reporting.inputs import each_cell, has_several, read_summary
from glitchtrace.reporting.style import human_glitch, human_name, marked

# The table of a mixed run: heading -> (signal, metric).
MIXED_COLUMNS = {
    "CFRank F1": ("CFRank", "f1"),
    "CNCI F1": ("CNCI", "f1"),
    "PCID F1": ("PCID", "f1"),
    "mislabelled told right": ("CFRank", "characterisation_accuracy_mislabelled"),
    "anomalous told right": ("CFRank", "characterisation_accuracy_anomalous"),
}


def aggregate(table: pd.DataFrame, by: Sequence[str], value: str = "value") -> pd.DataFrame:
    """Mean, standard deviation (n − 1) and number n of the defined values of each group, usually over seeds.

    Returns the columns ``by``, then ``mean``, ``std`` (NaN for n = 1) and ``n``, in the order of first
    appearance.
    """
    rows = []
    for key, values in table.groupby(list(by), sort=False, observed=True)[value]:
        found = estimate(values.to_numpy())
        rows.append((*key, found.mean, found.standard_deviation, found.count))
    return pd.DataFrame(rows, columns=[*by, "mean", "std", "n"])


def clipped_deviation(values: pd.Series) -> tuple[float, float]:
    """Mean ± standard deviation as an interval cut at 0 and 1, outside which no F1 or accuracy can lie."""
    found = estimate(values.to_numpy())
    low, high = found.mean - found.standard_deviation, found.mean + found.standard_deviation
    return (max(low, 0.0), min(high, 1.0)) if math.isfinite(low) else (math.nan, math.nan)


def mean_and_deviation(values: np.ndarray, digits: int = 3) -> str:
    """``0.860 ± 0.012``; the mean alone for a single value, a dash where no value is defined."""
    found = estimate(values)
    if not found.count:
        return "–"
    mean = f"{found.mean:.{digits}f}"
    return mean if math.isnan(found.standard_deviation) else f"{mean} ± {found.standard_deviation:.{digits}f}"


def summary_table(
    summary: pd.DataFrame, columns: Mapping[str, tuple[str, str]], digits: int = 3
) -> pd.DataFrame:
    """One row per cell with one text column ``mean ± standard deviation`` per quantity, for documents.

    ``summary`` is a tidy summary; ``columns`` maps a heading to (signal, metric).  Rows are sorted by the
    cell's keys; ``seeds`` counts the seeds of the cell, and the estimator is named only where there are
    several.  Cells that have none of the quantities are left out.
    """
    rows = []
    several = has_several(summary["estimator"])
    for keys, cell in each_cell(summary):
        quantities = [
            cell.loc[(cell["signal"] == signal) & (cell["metric"] == metric), "value"].to_numpy()
            for signal, metric in columns.values()
        ]
        if not any(len(values) for values in quantities):
            continue
        rows.append(
            {
                "dataset": human_name("dataset", keys["dataset"]),
                "model": human_name("model", keys["model"]),
                "glitch": human_glitch(keys["glitch"], keys["ratio"]),
                **({"estimator": human_name("estimator", keys["estimator"])} if several else {}),
                "seeds": cell["seed"].nunique(),
                **{
                    heading: mean_and_deviation(values, digits)
                    for heading, values in zip(columns, quantities, strict=True)
                },
            }
        )
    return pd.DataFrame(rows)


def tabulate_mixed(
    *,
    summary: str | Path,
    table: str | Path,
    csv: str | Path,
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: write detection and characterisation of the mixed cells of a summary, as Markdown and as CSV.

    F1 of CFRank, CNCI and PCID at the known ratio, and the share of detected glitches of each kind whose
    kind is told right; ``memorised`` as of ``plot_signals``.  Raises GlitchtraceError where the summary cannot be
    read or holds no mixed cell.
    """
    found = read_summary(summary)
    mixed = found.loc[found["metric"].str.startswith("characterisation_"), CELL_KEYS].drop_duplicates()
    if mixed.empty:
        raise GlitchtraceError(
            f"{summary} has no cell with several kinds of glitch; add a mixture to the grid"
        )
    rows = summary_table(marked(found.merge(mixed, on=CELL_KEYS), memorised), MIXED_COLUMNS)
    write_text(markdown_table(rows) + "\n", table)
    write_csv(rows, csv)


def markdown_table(frame: pd.DataFrame) -> str:
    """A table as Markdown (pipe table), aligned for reading as plain text, values as they stand."""
    return frame.astype(str).to_markdown(index=False, disable_numparse=True)


def write_csv(frame: pd.DataFrame, target: str | Path) -> None:
    """Write a table as CSV with six significant digits; the same table gives the same bytes."""
    with replacing(target) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
