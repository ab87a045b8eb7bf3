"""The verdict on a published number or statement, from our values over seeds and their intervals.

A difference of two means has Welch's 95 % interval, of a mean and a single run the interval in which one more run is
expected (docs/methods/statistics.md#published-numbers).
"""

import math
from collections.abc import Sequence

from glitchtrace.papers.glitches.published import Number
from glitchtrace.papers.glitches.statements import Statement
from glitchtrace.papers.glitches.tables import Found, Tables, difference

SEEDS = 5
# Means whose difference lies within this, with its whole interval, are equal for our purpose.
MARGIN, MARGIN_POINTS = 0.02, 0.5
# Half a unit of the last published digit: of means, of single runs, of percentage points.
ROUNDING, ROUNDING_OF_RUN, ROUNDING_POINTS = 0.005, 0.0005, 0.05
# A prediction interval that reaches farther confirms nothing.
WIDE, WIDE_POINTS = 0.05, 1.0
# A spread at which the values of the seeds say more than their mean.
SPREAD_OUT = 0.1
UNKNOWN = "cause unknown"


def judge_number(row: Number, tables: Tables) -> tuple[str, str] | None:
    """Our value in words and the verdict, None where it was not run or cannot be compared.

    Of two means: *reproduced* where the 95 % interval of their difference lies within ``MARGIN``, *differs* where it
    leaves 0 by more than rounding, else *undecided*.  Where the published number is a single run: *reproduced* where
    it lies in the interval in which one more run of ours is expected and that is not wide.
    """
    found = None if row.missing else row.found(tables)
    if found is None:
        return None
    theirs = Found(row.published, math.nan if row.deviation is None else row.deviation, row.runs)
    value, half = difference(found, theirs)
    ours = in_words(found, signed=row.points)
    form, unit = (".2f", " points") if row.points else (".3f", "")
    by = f"{value:+{form}}{unit}"
    if half is None:
        return ours, f"undecided: {by}, and no spread is known on either side"
    single = min(row.runs, found.seeds) < 2
    rounding = ROUNDING_POINTS if row.points else ROUNDING_OF_RUN if row.runs < 2 else ROUNDING
    margin = (WIDE_POINTS if row.points else WIDE) if single else (MARGIN_POINTS if row.points else MARGIN)
    interval = f"{by}, 95 % interval {value - half:+{form}} to {value + half:+{form}}"
    differs = abs(value) > half + rounding
    if half <= margin and not differs if single else abs(value) + half <= margin:
        return ours, "reproduced"
    if differs:
        return ours, f"differs by {by}: {row.why or UNKNOWN}"
    return ours, f"undecided: {interval}"


def judge_statement(row: Statement, tables: Tables) -> tuple[str, str] | None:
    """Our numbers in words, with their seeds where these are few, and the verdict; None where not run."""
    tables.seen.clear()
    found = row.check(tables)
    if found is None:
        return None
    few = min(value.seeds for value in tables.seen)
    ours = found[0] + (f" ({few} seed{'s' if few > 1 else ''})" if few < SEEDS else "")
    if isinstance(found[1], str):
        return ours, found[1]
    return ours, "reproduced" if found[1] else f"differs: {row.why or UNKNOWN}"


def in_words(found: Found, *, signed: bool = False) -> str:
    """Mean ± standard deviation and the number of seeds; signed and with two digits for percentage points.

    Where the spread is large the values of the seeds stand beside the mean: they may lie in two groups.
    """
    form = "+.2f" if signed else ".3f"
    if found.single:
        return f"{found.mean:{form}} (1 seed)"
    text = f"{found.mean:{form}} ± {found.deviation:{form.removeprefix('+')}} ({found.seeds} seeds)"
    if found.deviation > SPREAD_OUT and found.values and not signed:
        text += f": {listed(found.values)}"
    return text


def listed(values: Sequence[float]) -> str:
    """The values of the seeds, ascending."""
    return ", ".join(f"{value:.3f}" for value in sorted(values))
