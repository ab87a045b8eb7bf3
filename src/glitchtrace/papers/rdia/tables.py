"""Tables of RDIA by the ratio of wrong labels: every threshold beside the published numbers, and every method."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.rdia.figures.rdia import read_rdia, share_of
from glitchtrace.reporting.tables import write_csv

LOSS = ("log_loss", "log_loss_std")
# The README of the published program: test log loss by α and noise.
PUBLISHED_DATASET = "mnist17"
PUBLISHED = {
    0.01: {"clean": 0.0235, "0.2": 0.0443, "0.5": 0.0903, "0.8": 0.1009},
    0.002: {"clean": 0.0207, "0.2": 0.0315, "0.5": 0.0519, "0.8": 0.0465},
    0.0002: {"clean": 0.0903, "0.2": 0.0392, "0.5": 0.0410, "0.8": 0.0405},
}


def tabulate_rdia_thresholds(*, summary: str | Path, table: str | Path, alphas: Mapping[str, float]) -> None:
    """Stage: write the test log loss of RDIA by α and ratio of wrong labels (``thresholds_table``).

    ``summary`` is the ``rdia.parquet`` of a study; ``alphas``: relabelling -> its given α.  Raises
    GlitchtraceError where the summary cannot be read or has none of these relabellings.
    """
    found = read_rdia(summary)
    found = found[found["relabelling"].isin(alphas)]
    if found.empty:
        raise GlitchtraceError(
            f"{summary} has no relabelling {', '.join(alphas)}; run the target 'rdia' again"
        )
    write_csv(thresholds_table(found, alphas), table)


def tabulate_rdia_baselines(*, summary: str | Path, table: str | Path) -> None:
    """Stage: write test log loss and accuracy of every method by ratio of wrong labels (``by_ratio``).

    Raises GlitchtraceError where the summary cannot be read.
    """
    write_csv(by_ratio(read_rdia(summary), (*LOSS, "accuracy", "accuracy_std")), table)


def thresholds_table(table: pd.DataFrame, alphas: Mapping[str, float]) -> pd.DataFrame:
    """One row per α and dataset, α falling; above those of MNIST 1 against 7 stands the published row.

    ``table``: an ``rdia_table`` of the relabellings ``alphas`` (-> α).  Columns: ``alpha``, ``source`` (published or
    measured), then as of ``by_ratio`` with the log loss.  A published row names the dataset without a variant, and
    has neither seeds nor deviations.
    """
    found = by_ratio(table, LOSS)
    found.insert(0, "source", "measured")
    found.insert(0, "alpha", found["relabelling"].map(alphas))
    published = [
        {"alpha": alpha, "source": "published", "dataset": PUBLISHED_DATASET}
        | {_column("log_loss", ratio): loss for ratio, loss in losses.items()}
        for alpha, losses in PUBLISHED.items()
        if alpha in set(found.loc[found["dataset"].map(registry.base_name) == PUBLISHED_DATASET, "alpha"])
    ]
    rows = [*published, *found.to_dict("records")]
    return pd.DataFrame(rows, columns=found.columns).sort_values(
        "alpha", ascending=False, kind="stable", ignore_index=True
    )


def by_ratio(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """One row per dataset, kind of noise and method; a column ``<measure>_at_<ratio>`` per measure and ratio.

    ``table``: an ``rdia_table``.  Clean labels belong to every kind of noise of their dataset.  The other columns:
    ``dataset``, ``learner``, ``glitch``, ``relabelling``, ``name``, and ``seeds``, the most of any ratio.  What was
    not measured is NaN.
    """
    rows = []
    for (dataset, learner), cells in table.groupby(["dataset", "learner"], sort=False):
        clean = cells["ratio"] == "clean"
        for glitch in dict.fromkeys(cells.loc[~clean, "glitch"]) or ["none"]:
            kind = cells[clean | (cells["glitch"] == glitch)]
            for relabelling in dict.fromkeys(kind["relabelling"]):
                chosen = kind[kind["relabelling"] == relabelling]
                rows.append(
                    {
                        "dataset": dataset,
                        "learner": learner,
                        "glitch": glitch,
                        "relabelling": relabelling,
                        "name": chosen["name"].iloc[0],
                        "seeds": chosen["seeds"].max(),
                        **{
                            _column(measure, cell["ratio"]): cell[measure]
                            for cell in chosen.to_dict("records")
                            for measure in measures
                        },
                    }
                )
    keys = ["dataset", "learner", "glitch", "relabelling", "name", "seeds"]
    ratios = sorted(dict.fromkeys(table["ratio"]), key=share_of)
    return pd.DataFrame(
        rows, columns=keys + [_column(measure, ratio) for ratio in ratios for measure in measures]
    )


def _column(measure: str, ratio: str) -> str:
    return f"{measure}_at_{ratio}"
