"""What a method gains: at the number of removals chosen on validation, measured on test, paired over trials."""

import numpy as np
import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.statistics import compare

KEYS = ["dataset", "model", "glitch", "ratio", "protocol", "retrained"]
# Against what: no removal, and the same number of samples removed by another method.
NOTHING = "none"
CONTROLS = ("random", "self_influence", "cnci")
MEASURES = ("accuracy", "loss")


def compare_cleansing(*, removal: str, gain: str) -> None:
    """Write the gain of every method over no removal and over the controls, as a table.

    ``removal`` is the ``removal.parquet`` of a study.  Columns of ``gain``: the keys of the cell without its
    seed, ``method``, ``against``, ``measure`` (test accuracy or loss), ``count`` of trials, ``difference``
    (mean of method − control) with its Student-t interval ``low`` and ``high``, the Wilcoxon ``p_value``,
    ``wins``, ``ties`` and ``losses``, and ``removed``, the mean of the chosen numbers of samples.
    """
    files.write_parquet(gain_table(files.read_parquet(removal)), gain)


def gain_table(removal: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``gain.parquet``.

    Each trial chooses its number of removals by validation loss, the least among equals; the control removes
    as many.  Raises GlitchtraceError where no cell has both n = 0 and a removal.
    """
    rows = []
    for keys, cell in removal.groupby(KEYS, sort=True):
        chosen = choose(cell)
        tested = cell[cell["part"] == "test"].set_index(["seed", "method", "removed"])
        for method, choice in chosen.groupby("method", sort=False):
            for control in (NOTHING, *CONTROLS):
                if control == method or control not in {NOTHING, *chosen["method"]}:
                    continue
                ours = [(row.seed, method, row.removed) for row in choice.itertuples()]
                theirs = [
                    (row.seed, method, 0) if control == NOTHING else (row.seed, control, row.removed)
                    for row in choice.itertuples()
                ]
                for measure in MEASURES:
                    values = tested[measure].to_dict()
                    found = compare(
                        np.array([values[key] for key in ours]), np.array([values[key] for key in theirs])
                    )
                    rows.append(
                        {
                            **dict(zip(KEYS, keys, strict=True)),
                            "method": method,
                            "against": control,
                            "measure": measure,
                            **found.columns(),
                            "removed": float(choice["removed"].mean()),
                        }
                    )
    if not rows:
        raise GlitchtraceError("no cell has removals beside n = 0; add both to removals of the block")
    return pd.DataFrame(rows)


def choose(cell: pd.DataFrame) -> pd.DataFrame:
    """Seed, method and the number of removals with the least validation loss, n = 0 included."""
    ordered = cell[cell["part"] == "validation"].sort_values(
        ["seed", "method", "loss", "removed"], kind="stable"
    )
    return ordered.groupby(["seed", "method"], sort=False)[["seed", "method", "removed"]].head(1)
