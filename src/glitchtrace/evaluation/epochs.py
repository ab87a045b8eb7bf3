"""Stage: F1 of the signals that see one checkpoint at a time, after each epoch."""

from pathlib import Path

import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.influence_signals import score
from glitchtrace.evaluation.detection import f1_known_ratio
from glitchtrace.glitches.kinds import Kind
from glitchtrace.influence.profile import load_profiles

# The counterfactual signals compare all checkpoints with the last one, and have no epoch of their own.
SIGNALS = ("SI", "MI", "AAI", "GD_class")


def evaluate_epochs(*, profile: str | Path, glitch: str | Path, epochs: str | Path) -> None:
    """Write ``epochs.parquet``: epoch (from 1), signal and the F1 of the influence at that checkpoint alone.

    Epochs are those whose checkpoints the estimator uses, under their own numbers.
    Exactly as many samples are flagged as there are glitches; NaN in a cell without glitches.  Source:
    docs/methods/evaluation.md#f1-per-epoch.  Raises GlitchtraceError where the profile has nothing per epoch,
    or is of other samples.
    """
    profiles = load_profiles(profile)
    samples = files.read_parquet(glitch)
    if not profiles.per_epoch:
        raise GlitchtraceError(f"{profile} holds nothing per epoch; set per_epoch of the estimator to true")
    if len(samples) != len(profiles.labels):
        raise GlitchtraceError(
            f"{profile} and {glitch} describe different samples; delete {profile} and run again"
        )
    glitches = samples["kind"].to_numpy() != Kind.CLEAN
    rows = [
        (epoch, signal, f1_known_ratio(score(signal, profiles.at_epoch(epoch)), glitches))
        for epoch in profiles.per_epoch
        for signal in SIGNALS
    ]
    files.write_parquet(pd.DataFrame(rows, columns=["epoch", "signal", "f1"]), epochs)
