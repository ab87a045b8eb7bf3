"""Draw the README's figure from the results of ``make demo``: F1 of every signal on the digits."""

import tempfile
from pathlib import Path

from glitchtrace.reporting.figures.signals import plot_signals

with tempfile.TemporaryDirectory() as folder:
    plot_signals(
        summary="results/digits/summary.parquet",
        figures=["docs/demo-signals.png"],
        table=Path(folder) / "signals.csv",
        dataset="digits",
    )
