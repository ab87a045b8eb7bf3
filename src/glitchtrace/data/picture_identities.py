"""Which picture a sample is: its source and row, and the corruption where it has one.

Identities are tables of the columns ``source``, ``row``, ``corruption`` (empty for none) and ``severity``, one row
per picture; they are read as sample tables by ``data.sources``.
"""

import numpy as np
import pandas as pd


def of_samples(table: pd.DataFrame) -> pd.DataFrame:
    """The identities of the samples of a sample table, in its order."""
    corrupted = "corruption" in table
    return pd.DataFrame(
        {
            "source": table["source"].to_numpy(),
            "row": table["row"].to_numpy(np.int64),
            "corruption": table["corruption"].to_numpy() if corrupted else "",
            "severity": table["severity"].to_numpy(np.int64) if corrupted else 0,
        }
    )


def of_rows(source: str, rows: np.ndarray) -> pd.DataFrame:
    """The identities of rows of one source."""
    return of_samples(pd.DataFrame({"source": source, "row": np.asarray(rows, dtype=np.int64)}))


def form(pictures: pd.DataFrame) -> np.ndarray:
    """What a picture is beside its row, one name per picture (n,): ``mnist``, or ``mnist@stripe-3`` if corrupted."""
    source, corruption = pictures["source"].astype(str), pictures["corruption"].astype(str)
    corrupted = source + "@" + corruption + "-" + pictures["severity"].astype(str)
    return corrupted.where(corruption != "", source).to_numpy(dtype=str)
