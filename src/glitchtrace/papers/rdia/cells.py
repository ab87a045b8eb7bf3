"""Which cells of RDIA exist: dataset × learner × glitch × ratio × seed × method.

Standard library only: read while the Snakefile is parsed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from glitchtrace.core import grid, registry

AXES = {
    "datasets": "dataset",
    "learners": "learner",
    "glitches": "glitch",
    "ratios": "ratio",
    "seeds": "seed",
    "relabellings": "relabelling",
}

# Solver -> its own among the ``solver_settings`` of a learner, the keyword arguments of its function.
SOLVER_SETTINGS = {
    "cg": ("tolerance", "limit", "precondition"),
    "direct": (),
    "lissa": ("scale", "damping", "depth", "repeat", "tolerance", "seed"),
}


def cells(
    blocks: Sequence[Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, str]]:
    """All cells of the blocks ``rdia`` as wildcards, sorted, each once.

    ``settings``: of a resolved configuration.  Raises GlitchtraceError for an illegal combination.
    """
    return grid.legal_cells("rdia", blocks, AXES, lambda keys: _illegal(keys, settings))


def _illegal(keys: Mapping[str, str], settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    dataset, glitch = keys["dataset"], keys["glitch"]
    if not registry.card("glitch", glitch).get("labels_only"):
        return (
            f"glitch {glitch} changes more than labels, which RDIA repairs; use label noise such as uniform"
        )
    learner = keys["learner"]
    return (
        grid.illegal_data(dataset, glitch, keys["ratio"], settings)
        or grid.without_validation(dataset, settings)
        or _foreign_solver_settings(learner, settings.get("learner", {}).get(learner, {}))
    )


def _foreign_solver_settings(learner: str, settings: Mapping[str, Any]) -> str | None:
    """Why the settings of a learner do not fit its solver, with the remedy; None where they do."""
    solver = settings.get("solver", "cg")
    own = SOLVER_SETTINGS[solver]
    for key in settings.get("solver_settings", ()):
        if key not in own:
            return (
                f"learners.{learner}.solver_settings: {key} is no setting of the solver {solver}; leave it out "
                f"({solver} takes {', '.join(own) or 'none'}) or choose another solver"
            )
    return None


def memory(dataset: str) -> int:
    """MiB of a job of RDIA: 350 were measured on MNIST 1 against 7; sparse sets are larger than their rows tell."""
    card = registry.card("dataset", dataset)
    return 6000 if card["modality"] == "sparse" else 700 + int(sum(card["rows"].values()) * 0.004)


def alphas(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Variant of RDIA -> its α, of those in the study whose α is given."""
    return {
        name: chosen["alpha"]
        for name, chosen in settings["relabelling"].items()
        if registry.base_name(name) == "rdia" and chosen["alpha"] is not None
    }


def with_baselines(cells: Sequence[Mapping[str, str]]) -> bool:
    """Whether a method stands beside RDIA."""
    return any(registry.base_name(cell["relabelling"]) != "rdia" for cell in cells)
