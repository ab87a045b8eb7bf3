"""No repair: every sample is kept as it is observed."""

import numpy as np

from glitchtrace.repair.actions import resolve
from glitchtrace.repair.context import Context

KIND = "policy"
CARD = {
    "summary": "Keep every sample: the baseline that every other repair is compared with.",
    "default": True,
}


def propose(context: Context, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Actions and labels per sample, both (n,): keep, and the observed label."""
    nobody = np.zeros(len(context.labels), dtype=bool)
    return resolve(context.labels, context.labels, relabel=nobody, drop=nobody)
