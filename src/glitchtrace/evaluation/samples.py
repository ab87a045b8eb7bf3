"""The two tables of a scored cell, read together: what the detectors say and what is true."""

from pathlib import Path

import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError

_NOT_SIGNALS = ("sample", "label", "proposed_label", "verdict")


def read_samples(scores: str | Path, glitch: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``scores.parquet`` and the sample table ``glitch.parquet`` of one cell, both of the same rows.

    Raises GlitchtraceError where the two do not describe the same samples with the same observed labels.
    """
    scored, samples = files.read_parquet(scores), files.read_parquet(glitch)
    if len(scored) != len(samples) or (scored["label"].to_numpy() != samples["label"].to_numpy()).any():
        raise GlitchtraceError(
            f"{scores} and {glitch} describe different samples; delete {scores} and score the cell anew"
        )
    return scored, samples


def signal_names(scored: pd.DataFrame) -> list[str]:
    """The columns of ``scores.parquet`` that hold a detector's scores, in their order."""
    return [str(name) for name in scored.columns if name not in _NOT_SIGNALS and "/" not in str(name)]
