"""Which signal is better, seed by seed: paired comparisons over a summary table."""

from itertools import combinations

import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.statistics import compare


def compare_signals(*, summary: str, comparison: str, metric: str = "f1") -> None:
    """Write the paired comparison of every two signals over the seeds of each cell, as a table.

    ``summary`` is a summary of metrics.  The columns of ``comparison`` are the keys of the cell without its
    seed, ``signal`` and ``other``, then ``count`` of seeds, ``difference`` (mean of signal − other) with its
    Student-t interval ``low`` and ``high``, the Wilcoxon ``p_value``, and ``wins``, ``ties`` and ``losses``
    of ``signal``. Raises GlitchtraceError where fewer than two signals have the metric.
    """
    table = files.read_parquet(summary)
    measured = table[(table["metric"] == metric) & (table["signal"] != "")]
    if measured["signal"].nunique() < 2:
        raise GlitchtraceError(f"{summary} holds the metric '{metric}' of fewer than two signals to compare")
    rows = []
    for keys, cell in measured.groupby(CELL_KEYS):
        by_seed = cell.pivot_table(index="seed", columns="signal", values="value", dropna=False)
        for signal, other in combinations(by_seed.columns, 2):
            found = compare(by_seed[signal].to_numpy(), by_seed[other].to_numpy())
            rows.append(
                dict(zip(CELL_KEYS, keys, strict=True))
                | {
                    "signal": signal,
                    "other": other,
                    **found.columns(),
                }
            )
    files.write_parquet(pd.DataFrame(rows), comparison)
