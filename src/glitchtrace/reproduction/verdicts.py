"""The verdict on a published number or statement, from our means and spreads over seeds."""

import math

from glitchtrace.reproduction.published import Number
from glitchtrace.reproduction.statements import ROUNDING, Statement
from glitchtrace.reproduction.tables import Found, Tables

SEEDS = 5
# A larger difference is not called reproduced, however wide the spread over seeds.
WIDE = 0.05


def judge_number(row: Number, tables: Tables) -> tuple[str, str] | None:
    """Our mean in words and the verdict, None where it was not run.

    Reproduced is a difference of at most ``ROUNDING`` or twice √(published² + our standard deviation²).
    """
    found = row.found(tables)
    if found is None:
        return None
    spread = math.hypot(row.deviation or 0, 0 if math.isnan(found.deviation) else found.deviation)
    difference = found.mean - row.published
    if abs(difference) <= max(ROUNDING, 2 * spread):
        wide = abs(difference) > WIDE
        return in_words(
            found
        ), f"within the spread, which is wide ({difference:+.3f})" if wide else "reproduced"
    return in_words(found), f"differs by {difference:+.3f}" + (f": {row.why}" if row.why else "")


def judge_change(row: Number, tables: Tables) -> tuple[str, str] | None:
    """The change of accuracy in percentage points and the verdict, as ``judge_number``; ``row.minus`` is clean."""
    found = row.found(tables)
    clean = row.found_where_subtracted(tables)
    if not (found and clean):
        return None
    points = 100 * (found.mean - clean.mean)
    spread = 100 * math.hypot(found.deviation, clean.deviation)
    ours = f"{points:+.2f} ± {spread:.2f}"
    if abs(points - row.published) <= max(100 * ROUNDING, 2 * spread):
        return ours, "reproduced"
    return ours, f"differs by {points - row.published:+.2f} points: {row.why}"


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
    return ours, "reproduced" if found[1] else "differs"


def in_words(found: Found) -> str:
    """Mean ± standard deviation and the number of seeds."""
    if math.isnan(found.deviation):
        return f"{found.mean:.3f} (1 seed)"
    return f"{found.mean:.3f} ± {found.deviation:.3f} ({found.seeds} seeds)"
