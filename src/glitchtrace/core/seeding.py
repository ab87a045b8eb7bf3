"""One generator per call: derived from the run seed and the name of the step."""

import zlib

import numpy as np


def generator(seed: int, step: str) -> np.random.Generator:
    """A generator that depends on ``seed`` and on the name of the step, and on nothing else."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(step.encode())]))
