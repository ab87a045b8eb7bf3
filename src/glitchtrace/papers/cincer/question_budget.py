"""What a number of questions buys: wrong labels found per question, and F1 at that point."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.summary import KEYS, mean_and_error
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import write_csv

BUDGETS = (25, 50, 100)


def tabulate_questions(*, traces: Sequence[str], table: str) -> None:
    """Write the table of a study; see ``budget_table``.  Raises GlitchtraceError where no run asks enough."""
    found = budget_table(pd.concat([read_table(path, [*KEYS, "repeat", "n_queried"]) for path in traces]))
    if found.empty:
        raise GlitchtraceError(f"{traces[0]}: no run asks {BUDGETS[0]} questions; let more samples arrive")
    write_csv(found, table)


def budget_table(traces: pd.DataFrame) -> pd.DataFrame:
    """One row per run and budget that at least one repeat reaches: ``found`` wrong labels per question, ``f1``.

    Both are means over the repeats that reach it, with their errors; ``arrived`` is how many samples that took.
    """
    rows = []
    for keys, run in traces.groupby(KEYS, sort=True):
        for budget in BUDGETS:
            reached = run[run["n_queried"] >= budget].sort_values("iteration").groupby("repeat").head(1)
            if reached.empty:
                continue
            row: dict[str, Any] = {
                **dict(zip(KEYS, keys, strict=True)),
                "questions": budget,
                "repeats": len(reached),
            }
            for name, values in (
                ("found", reached["n_cleaned"] / budget),
                ("f1", reached["f1"]),
                ("arrived", reached["iteration"]),
            ):
                row[name], row[f"{name}_error"] = mean_and_error(values.to_numpy(float))
            rows.append(row)
    return pd.DataFrame(rows)
