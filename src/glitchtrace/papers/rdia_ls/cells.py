"""Which cells of RDIA-LS exist: dataset × model × glitch × ratio × seed × method.

Standard library only: read while the Snakefile is parsed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from glitchtrace.core import grid

AXES = {
    "datasets": "dataset",
    "models": "model",
    "glitches": "glitch",
    "ratios": "ratio",
    "seeds": "seed",
    "selections": "selection",
}


def cells(
    blocks: Sequence[Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, str]]:
    """All cells of the blocks ``rdia_ls`` as wildcards, sorted, each once.

    ``settings``: of a resolved configuration.  Raises GlitchtraceError for an illegal combination.
    """
    return grid.legal_cells("rdia_ls", blocks, AXES, lambda keys: _illegal(keys, settings))


def _illegal(keys: Mapping[str, str], settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    problem = grid.illegal(keys["dataset"], keys["model"], keys["glitch"], keys["ratio"], settings)
    chosen = settings.get("selection", {}).get(keys["selection"], {})
    if problem is None and "gamma" in chosen and chosen["gamma"] is None:
        missing = grid.without_validation(keys["dataset"], settings)
        problem = missing and f"selections.{keys['selection']}.gamma is null: {missing}, or give gamma"
    if problem is None and keys["ratio"] == "native" and chosen.get("forget_rate") is None:
        problem = (
            f"glitch {keys['glitch']} fixes its own ratio: set selections.{keys['selection']}.forget_rate"
        )
    return problem
