"""What is decided with intervals: yes, no, or in words why these seeds cannot decide.

Source: docs/methods/statistics.md#published-numbers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from glitchtrace.papers.glitches.tables import Found, bounds, difference

SINGLE = "a single run, which has no interval"


def largest_of(values: Iterable[Found]) -> Found:
    """The largest mean."""
    return max(values, key=lambda value: value.mean)


def below(pairs: Iterable[tuple[Found, Found]], margin: float = 0.0) -> bool | str:
    """Whether each first lies below its second plus a margin, by the 95 % interval of their difference."""
    undecided = ""
    for first, second in pairs:
        value, half = difference(first, second)
        if half is None:
            undecided = f"undecided: {first.mean:.3f} against {second.mean:.3f}, single runs on both sides"
            continue
        if value - half > margin:
            return False
        if value + half > margin or value == margin:
            undecided = (
                f"undecided: {first.mean:.3f} against {second.mean:.3f}, "
                f"95 % interval of the difference {value - half:+.3f} to {value + half:+.3f}"
            )
    return undecided or True


def all_below(limit: float, values: Iterable[Found]) -> bool | str:
    """Whether every mean lies below a limit, by its 95 % interval; a single run has none."""
    intervals = [bounds(value) for value in values]
    reached = max(high for _, high in intervals)
    if reached < limit:
        return True
    if any(low >= limit for low, _ in intervals):
        return False
    return "undecided: " + (
        f"the 95 % interval of the largest reaches {reached:.3f}" if math.isfinite(reached) else SINGLE
    )


def all_of(verdicts: Iterable[bool | str]) -> bool | str:
    """Whether all hold: no where one does not, else not decided where one is not."""
    found = list(verdicts)
    return False if False in found else next((one for one in found if isinstance(one, str)), True)


def within(value: float, low: float, high: float, about: float, margin: float) -> bool | str:
    """Whether a value lies within a margin of another, by its interval from ``low`` to ``high``."""
    if about - margin <= low and high <= about + margin:
        return True
    if low > about + margin or high < about - margin:
        return False
    return f"undecided: {value:.3f}, " + (
        f"95 % interval {low:.3f} to {high:.3f}" if math.isfinite(high) else SINGLE
    )


def is_best(values: Mapping[str, Found], name: str) -> bool | str:
    """Whether one of several is above all others."""
    return below((value, values[name]) for other, value in values.items() if other != name)


def count(verdicts: Sequence[bool | str]) -> str:
    """How many hold, do not, or are not decided, in words."""
    yes, no = verdicts.count(True), verdicts.count(False)
    return f"best in {yes} of {len(verdicts)}, not best in {no}, undecided in {len(verdicts) - yes - no}"


def mean_of(values: Sequence[Found]) -> Found:
    """The mean of independent means, as if of the fewest seeds."""
    seeds = min(value.seeds for value in values)
    errors = sum(value.deviation**2 / value.seeds for value in values)
    mean = sum(value.mean for value in values) / len(values)
    return Found(mean, math.sqrt(errors * seeds) / len(values), seeds)


def ratio_of(over: Found, under: Found) -> tuple[float, float, float]:
    """The ratio of two independent means with its 95 % interval, to first order in the logarithm."""
    half = difference(*(Found(1.0, side.deviation / side.mean, side.seeds) for side in (over, under)))[1]
    value, half = over.mean / under.mean, math.inf if half is None else half
    return value, value * math.exp(-half), value * math.exp(half)
