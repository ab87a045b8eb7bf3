"""Mixtures: several glitches, one after the other."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.glitches.table import Foreign

KIND = "glitch"
CARD = {
    "shown_by": "CFRank",
    "summary": "A mixture: an ordered list of other glitches, each with its own ratio.",
    "modalities": ["image", "table"],
    "ratio": "native",
    "foreign": True,
    "settings": {
        "steps": {
            "type": "array",
            "description": (
                "Glitches to apply in this order. A step hits clean samples only; its ratio refers to the "
                "number of samples at that step. Other keys of a step are settings of its glitch."
            ),
            "items": {
                "type": "object",
                "required": ["glitch", "ratio"],
                "properties": {
                    "glitch": {"type": "string", "description": "Name of the glitch."},
                    "ratio": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "exclusiveMaximum": 1,
                        "description": "Share of the samples.",
                    },
                    "seed": {
                        "type": ["integer", "null"],
                        "minimum": 0,
                        "description": "Seed of the step; null for the run seed.",
                        "default": None,
                    },
                },
            },
            "default": [],
        }
    },
}


def inject(
    table: pd.DataFrame,
    *,
    ratio: float,
    seed: int,
    classes: int,
    settings: Mapping[str, Any],
    foreign: Mapping[str, Foreign],
) -> pd.DataFrame:
    """Apply the steps in order; ``ratio`` has no meaning here, each step brings its own.

    Each step has the complete settings of its glitch beside ``glitch``, ``ratio`` and ``seed``.  Only clean
    samples are hit, so a sample keeps the kind of the first glitch that hit it.  Source:
    docs/methods/glitches.md#mixtures.

    Raises GlitchtraceError without steps, and as the steps do.
    """
    if not settings["steps"]:
        raise GlitchtraceError("steps: a mixture without steps; list at least one glitch with its ratio")
    for position, step in enumerate(settings["steps"]):
        try:
            table = registry.load("glitch", step["glitch"]).inject(
                table,
                ratio=step["ratio"],
                seed=seed if step["seed"] is None else step["seed"],
                classes=classes,
                settings=step,
                foreign=foreign,
            )
        except GlitchtraceError as error:
            raise GlitchtraceError(f"steps[{position}]: {error}") from None
    return table
