"""Accuracy on clustered anomalies: how well a network has learnt what does not belong."""

from pathlib import Path

import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.reporting.inputs import read_summary
from glitchtrace.reporting.tables import aggregate, write_csv

METRICS = {
    "training_accuracy_anomalous": "accuracy on anomalies",
    "training_accuracy_clean": "accuracy on clean samples",
    "validation_accuracy": "accuracy on validation samples",
}


def tabulate_clustered(*, summary: str | Path, table: str | Path) -> None:
    """Stage: write the accuracy on the anomalous training samples after the last epoch, beside that on others.

    One row per cell and part: mean, standard deviation and number of seeds.  Against the observed label, in
    evaluation mode.  Source: table 1 of the comparative study (docs/reproduction.md).  Raises
    GlitchtraceError where the summary holds no cell with anomalies.
    """
    found = read_summary(summary)
    anomalous = found.loc[found["metric"] == "training_accuracy_anomalous", CELL_KEYS].drop_duplicates()
    if anomalous.empty:
        raise GlitchtraceError(
            f"{summary} has no cell with anomalies; add far_anomalies or near_anomalies to the grid"
        )
    rows = found[found["metric"].isin(METRICS)].merge(anomalous, on=CELL_KEYS)
    rows = rows.assign(samples=rows["metric"].map(METRICS))
    order = pd.Categorical(rows["metric"], list(METRICS))
    rows = rows.assign(order=order).sort_values([*CELL_KEYS, "order"], kind="stable")
    write_csv(aggregate(rows, [*CELL_KEYS, "samples"]), table)
