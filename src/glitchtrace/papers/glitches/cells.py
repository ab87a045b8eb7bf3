"""Which figures of the glitch papers the cells of a study allow.

Read while the Snakefile is parsed: standard library only at the top.
"""

from collections.abc import Container, Mapping
from typing import Any

from glitchtrace.core import grid, registry
from glitchtrace.core.grid import Grid

CLUSTERED = ("far_anomalies", "near_anomalies")


def sets(
    cells: Grid,
    settings: Mapping[str, Mapping[str, Any]],
    kinds: Container[str],
    modality: str | None = None,
) -> list[dict[str, str]]:
    """The datasets, of one modality or of any, and glitches whose glitches are of the given kinds."""
    return [
        {"dataset": dataset, "glitch": glitch}
        for dataset, glitch in grid.glitched_sets(cells)
        if kind_of_noise(glitch, settings["glitch"][glitch]) in kinds
        and modality in (None, registry.card("dataset", dataset)["modality"])
    ]


def kind_of_noise(glitch: str, settings: Mapping[str, Any]) -> str:
    """The base name of a glitch, with how many classes class-dependent noise hits."""
    name = registry.base_name(glitch)
    if name != "class_dependent":
        return name
    default = 1 if settings["transition_matrix"] is None else "all"
    return f"{name}: {settings['classes_to_contaminate'] or default}"


def with_both_validations(cells: Grid) -> bool:
    """Whether a glitched cell has a dirty and a clean validation set."""
    clean, dirty = (
        {
            tuple({**row, "dataset": registry.base_name(row["dataset"])}.values())
            for row in cells.glitched()
            if row["dataset"].endswith(f"@{variant}")
        }
        for variant in ("clean_validation", "dirty_validation")
    )
    return not clean.isdisjoint(dirty)


def with_clean_twins(cells: Grid) -> bool:
    """Whether a glitched cell has a clean training of the same dataset, model and seed."""
    clean, glitched = (
        {(row["dataset"], row["model"], row["seed"]) for row in rows}
        for rows in (cells.rows(ratio="clean"), cells.glitched())
    )
    return not clean.isdisjoint(glitched)


def with_published_numbers(cells: Grid, study: str | None) -> bool:
    """Whether the papers report a number of a cell, or state something that the study decides."""
    if not len(cells):
        return False
    # Not imported above: they need pandas, which a job need not import to parse the workflow.
    from glitchtrace.papers.glitches import published, statements

    known = published.cells()
    return study in statements.studies() or any(
        (row["dataset"], row["model"], row["glitch"], row["ratio"]) in known for row in cells.rows()
    )
