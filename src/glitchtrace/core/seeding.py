"""One generator per call: derived from the run seed and the name of the step."""

import zlib

import numpy as np

from glitchtrace.core.errors import GlitchtraceError

# What the generators of NumPy and scikit-learn take.
LARGEST = 2**32 - 1


def generator(seed: int, step: str) -> np.random.Generator:
    """A generator that depends on ``seed`` and on the name of the step, and on nothing else.

    Raises GlitchtraceError for a seed that is no whole number in 0 … 2³² − 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST:
        raise GlitchtraceError(f"seed: {seed!r} is no seed; give a whole number from 0 to {LARGEST}")
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(step.encode())]))
