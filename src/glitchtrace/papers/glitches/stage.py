"""The published numbers that a study of ours stands beside, for its report."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from glitchtrace.core.files import write_text
from glitchtrace.papers.glitches import published
from glitchtrace.papers.glitches.statements import statements
from glitchtrace.papers.glitches.tables import Tables, study_table
from glitchtrace.papers.glitches.verdicts import judge_number, judge_statement
from glitchtrace.reporting.style import human_name
from glitchtrace.reporting.tables import write_csv

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Published numbers beside ours</title><style>
body {{ font: 14px sans-serif; margin: 1em; }}
th, td {{ padding: 0.3em 0.8em; text-align: left; border-bottom: 1px solid #ddd; }}
</style></head><body>
{}
</body></html>
"""


def compare_published(
    *,
    summary: str | Path,
    cost: str | Path,
    epochs: Sequence[str | Path],
    table: str | Path,
    page: str | Path,
) -> None:
    """Stage: write, as CSV and as a page, a row per published number and statement that the study has a value for.

    ``summary``, ``cost`` and ``epochs`` as in ``tables.study_table``.  Columns: ``dataset``, ``model``, ``what``,
    ``published`` (empty for statements), ``ours``, ``verdict``.  Raises GlitchtraceError where a summary cannot be
    read.
    """
    tables = Tables(study_table(summary, cost, epochs))
    numbers = [(row, judge_number(row, tables)) for row in published.numbers()]
    rows = [
        (row.dataset, human_name("model", row.model), row.words(), row.given(), *found)
        for row, found in numbers
        if found
    ]
    judged = ((row, judge_statement(row, tables)) for row in statements())
    rows += [(row.where, "", row.what, "", *found) for row, found in judged if found]
    found = pd.DataFrame(rows, columns=["dataset", "model", "what", "published", "ours", "verdict"])
    write_csv(found, table)
    write_text(_PAGE.format(found.to_html(index=False, border=0)), page)
