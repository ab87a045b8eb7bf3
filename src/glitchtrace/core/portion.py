"""How many samples a ratio is: one rounding rule for subsets, splits and glitches."""

import math
from fractions import Fraction


def portion(ratio: float | str | Fraction, count: int) -> int:
    """floor(ratio·count), where the ratio is the decimal fraction as it is written.

    The floating product may fall short by one: ``int(0.29 * 100)`` is 28, ``portion(0.29, 100)`` is 29.
    """
    return math.floor(Fraction(str(ratio)) * count)
