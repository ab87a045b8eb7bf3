"""Stage: measure one cell."""

from collections.abc import Sequence

import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.measures import cell_measures, signal_measures
from glitchtrace.evaluation.samples import read_samples

_COSTS = ("seconds", "cpu_seconds", "peak_mib")


def evaluate_cell(
    *,
    scores: str,
    glitch: str,
    history: str,
    records: Sequence[str],
    metrics: str,
    cost: str,
    published_contamination: float | None = None,
    numbers: Sequence[str] = (),
) -> None:
    """Write ``metrics.parquet`` (signal, metric, value) and ``cost.parquet`` (stage and cost) of one cell.

    ``signal`` is empty in the rows that describe the cell.  ``records`` are the JSON records of the jobs behind the
    cell.  ``published_contamination`` is the share of glitches that ``f1_published`` believes in, by default the true
    one.  ``numbers``: the table of estimated numbers of wrong labels, one or none.  A cell without glitches has no
    measures of detection.  Raises GlitchtraceError for a NaN score, for tables of different samples and for a file
    that is no record.
    """
    scored, samples = read_samples(scores, glitch)
    estimated = pd.concat([files.read_parquet(path) for path in numbers]) if numbers else None
    measured = [("", cell_measures(samples, files.read_parquet(history), estimated))]
    measured += signal_measures(scored, samples, published_contamination, estimated)
    rows = [(signal, metric, value) for signal, measures in measured for metric, value in measures.items()]
    costs = pd.DataFrame([_cost(record) for record in records], columns=["stage", *_COSTS])
    files.write_parquet(pd.DataFrame(rows, columns=["signal", "metric", "value"]), metrics)
    files.write_parquet(costs, cost)


def _cost(record: str) -> tuple[str | float, ...]:
    """The stage of a job and what it cost."""
    content = files.read_record(record)
    try:
        return content["stage"], *(float(content["cost"][name]) for name in _COSTS)
    except (ValueError, KeyError, TypeError):
        raise GlitchtraceError(
            f"{record} is not the record of a job; delete it and run the job again"
        ) from None
