"""Perfect repair: what could be gained at most by relabelling and dropping."""

import numpy as np

from glitchtrace.glitches.kinds import Kind
from glitchtrace.repair.actions import resolve
from glitchtrace.repair.context import RevealedContext

KIND = "policy"
CARD = {
    "summary": "Give every mislabelled sample its true label and drop every other glitch.",
    "reveals_truth": True,
    "default": True,
}


def propose(context: RevealedContext, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Actions and labels per sample, both (n,), from the true kinds and labels."""
    relabel = context.kinds == Kind.MISLABELLED
    drop = context.kinds > Kind.MISLABELLED
    return resolve(context.labels, context.true_labels, relabel, drop)
