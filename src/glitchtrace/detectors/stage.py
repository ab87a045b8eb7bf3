"""Stage function of the signals: all scores of one cell, from its class profiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import registry
from glitchtrace.core.files import write_parquet
from glitchtrace.detectors.ranks import verdicts
from glitchtrace.detectors.signals import cnci, pcid
from glitchtrace.influence.profile import Profiles, load_profiles


def score_signals(
    *, profile: str | Path, signals: str | Path, detectors: str | Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Write ``signals.parquet``: sample, label, a column per signal, proposed label (y⁻) and verdict
    (``Kind``).

    ``detectors``: registered signals, or ``all``; ``settings`` of the estimator, of which a signal takes those
    that its card names.  Raises GlitchtraceError for an unknown signal or an unreadable profile.
    """
    profiles = load_profiles(profile)
    chosen = registry.names("signal") if detectors == "all" else detectors
    scores = {name: score(name, profiles, settings) for name in chosen}
    table = pd.DataFrame(
        {
            "sample": np.arange(len(profiles.labels)),
            "label": profiles.labels,
            **scores,
            "proposed_label": profiles.negative_label,
            "verdict": verdicts(cnci.score(profiles), pcid.score(profiles)),
        }
    )
    write_parquet(table, signals)


def score(name: str, profiles: Profiles, settings: Mapping[str, Any] | None = None) -> np.ndarray:
    """The scores of one registered signal, (n,) float64, higher = more suspicious.

    Raises GlitchtraceError for an unknown name.
    """
    known = registry.card("signal", name).get("settings", {})
    options = {key: value for key, value in (settings or {}).items() if key in known}
    scores: np.ndarray = registry.load("signal", name).score(profiles, **options)
    return scores
