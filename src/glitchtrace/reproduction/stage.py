"""The published numbers that a study of ours stands beside, for its report."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from glitchtrace.reporting.style import human_name
from glitchtrace.reporting.tables import write_csv
from glitchtrace.reproduction import published
from glitchtrace.reproduction.statements import statements
from glitchtrace.reproduction.tables import Tables, study_table
from glitchtrace.reproduction.verdicts import judge_change, judge_number, judge_statement


def compare_published(
    *, summary: str | Path, cost: str | Path, epochs: Sequence[str | Path], table: str | Path
) -> None:
    """Stage: write a CSV with a row per published number and statement that the study has a value for.

    ``summary``, ``cost`` and ``epochs`` as in ``tables.study_table``.  Columns: ``dataset``, ``model``, ``what``,
    ``published`` (empty for statements), ``ours``, ``verdict``.  Raises GlitchtraceError where a summary cannot be
    read.
    """
    tables = Tables(study_table(summary, cost, epochs))
    numbers = [(row, judge_number(row, tables)) for row in published.numbers()]
    changes = [(row, judge_change(row, tables)) for row in published.changes()]
    rows = [
        (row.dataset, human_name("model", row.model), row.words(), row.given(), *found)
        for row, found in (*numbers, *changes)
        if found
    ]
    judged = ((row, judge_statement(row, tables)) for row in statements())
    rows += [(row.where, "", row.what, "", *found) for row, found in judged if found]
    write_csv(pd.DataFrame(rows, columns=["dataset", "model", "what", "published", "ours", "verdict"]), table)
