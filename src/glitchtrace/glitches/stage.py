"""Stage function of the rule ``inject_glitch``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core import files, grid, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import category_counts, read_description
from glitchtrace.data.preprocess import VectorInputs, standardisation
from glitchtrace.data.sources import Sources
from glitchtrace.glitches.table import Foreign, check_table, clean_table

_STEP_KEYS = ("glitch", "ratio", "seed")


def inject_glitch(
    *,
    split: str | Path,
    labels: Sequence[str | Path],
    descriptions: Sequence[str | Path],
    glitch: str | Path,
    dataset: str,
    name: str,
    ratio: str | float,
    seed: int,
    settings: Mapping[str, Any],
    annotations: Sequence[str | Path] = (),
    features: Sequence[str | Path] = (),
) -> None:
    """Write the sample table of a cell: the training rows of the split after the glitch ``name``.

    ``labels``, ``descriptions``: ``labels.npy`` and ``source.json`` of the host first, then of foreign
    sources, each in the folder named as the source.  ``ratio``: as written in the grid.  ``settings``: of the
    glitch; a missing one takes its default.  ``annotations``: the table of human labels, ``features``: those of the
    host, each for a glitch that needs it.  Raises GlitchtraceError where the glitch cannot be made.
    """
    host, *others = [_foreign(*paths) for paths in zip(labels, descriptions, strict=True)]
    clean = clean_table(files.read_parquet(split), host.labels, host.name)
    share = 0.0 if ratio in grid.FIXED_RATIOS else float(ratio)
    try:
        table = registry.load("glitch", name).inject(
            clean,
            ratio=share,
            seed=seed,
            classes=host.classes,
            settings=complete(name, settings, dataset),
            foreign={source.name: source for source in others},
            **({"annotations": files.read_parquet(annotations[0])} if annotations else {}),
            **({"rows": _vectors(features[0], clean["row"].to_numpy(), descriptions[0])} if features else {}),
        )
    except GlitchtraceError as error:
        raise GlitchtraceError(f"{dataset}, glitches.{name}: {error}") from None
    try:
        check_table(table, clean, ratio=share, classes=host.classes)
    except GlitchtraceError as error:
        raise GlitchtraceError(f"{registry.place('glitch', name)}: {error}") from None
    files.write_parquet(table, glitch)


def complete(name: str, given: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """The settings of a glitch, and of a mixture's steps, with defaults and the foreign dataset filled in.

    Raises GlitchtraceError for a key that the glitch does not have.
    """
    fragments = registry.settings("glitch", name)
    unknown = sorted(set(given) - set(fragments))
    if unknown:
        known = ", ".join(fragments) or "none"
        raise GlitchtraceError(f"unknown key '{unknown[0]}' of glitch {name}; known: {known}")
    settings = {key: given.get(key, fragment["default"]) for key, fragment in fragments.items()}
    if "foreign" in settings:
        settings["foreign"] = settings["foreign"] or registry.card("dataset", dataset).get("foreign")
    if "steps" in settings:
        settings["steps"] = [_complete_step(step, dataset) for step in settings["steps"]]
    return settings


def _complete_step(step: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    own = {key: value for key, value in step.items() if key not in _STEP_KEYS}
    return {
        **complete(step["glitch"], own, dataset),
        "seed": None,
        **{key: step[key] for key in _STEP_KEYS if key in step},
    }


def _vectors(features: str | Path, rows: np.ndarray, description: str | Path) -> VectorInputs:
    """Rows of the host as vectors: standardised numbers and categories as 0 or 1."""
    stored = Sources([features]).host_rows(rows)
    return VectorInputs(stored, *standardisation(stored), category_counts(read_description(description)))


def _foreign(labels: str | Path, description: str | Path) -> Foreign:
    content = read_description(description)
    return Foreign(
        name=Path(labels).parent.name,
        labels=files.read_npy(labels, memory_mapped=True),
        parts={part: (first, end) for part, (first, end) in content["parts"].items()},
        classes=len(content["classes"]),
    )
