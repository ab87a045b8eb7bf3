"""The verdict on a published number or statement, from our means and spreads over seeds."""

import math

from glitchtrace.papers.glitches.published import Number
from glitchtrace.papers.glitches.statements import ROUNDING, Statement
from glitchtrace.papers.glitches.tables import Found, Tables

SEEDS = 5
# A larger difference is not called reproduced, however wide the spread over seeds.
WIDE = 0.05
# In percentage points: what counts as equal, and what no longer as reproduced.
ROUNDING_POINTS, WIDE_POINTS = 0.1, 1.0
UNKNOWN = "cause unknown"


def judge_number(row: Number, tables: Tables) -> tuple[str, str] | None:
    """Our mean in words and the verdict, None where it was not run or cannot be compared.

    Reproduced is a difference of at most ``ROUNDING`` or twice √(published² + our standard deviation²).
    """
    found = None if row.missing else row.found(tables)
    if found is None:
        return None
    rounding, wide = (ROUNDING_POINTS, WIDE_POINTS) if row.points else (ROUNDING, WIDE)
    spread = math.hypot(row.deviation or 0, 0 if math.isnan(found.deviation) else found.deviation)
    difference = found.mean - row.published
    ours = in_words(found, signed=row.points)
    by = f"{difference:+.2f} points" if row.points else f"{difference:+.3f}"
    if abs(difference) > max(rounding, 2 * spread):
        return ours, f"differs by {by}: {row.why or UNKNOWN}"
    return ours, "reproduced" if abs(difference) <= wide else f"within the spread, which is wide ({by})"


def judge_statement(row: Statement, tables: Tables) -> tuple[str, str] | None:
    """Our numbers in words, with their seeds where these are few, and the verdict; None where not run."""
    tables.seeds_seen.clear()
    found = row.check(tables)
    if found is None:
        return None
    few = min(tables.seeds_seen)
    ours = found[0] + (f" ({few} seed{'s' if few > 1 else ''})" if few < SEEDS else "")
    if isinstance(found[1], str):
        return ours, found[1]
    return ours, "reproduced" if found[1] else f"differs: {row.why or UNKNOWN}"


def in_words(found: Found, *, signed: bool = False) -> str:
    """Mean ± standard deviation and the number of seeds; signed and with two digits for percentage points."""
    mean, deviation = (
        (f"{found.mean:+.2f}", f"{found.deviation:.2f}")
        if signed
        else (
            f"{found.mean:.3f}",
            f"{found.deviation:.3f}",
        )
    )
    return (
        f"{mean} (1 seed)" if math.isnan(found.deviation) else f"{mean} ± {deviation} ({found.seeds} seeds)"
    )
