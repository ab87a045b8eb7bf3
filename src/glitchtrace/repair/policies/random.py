"""Repair of equal size at random: the control that shows what choosing by influence is worth."""

import numpy as np

from glitchtrace.repair.actions import Action, resolve
from glitchtrace.repair.context import Context
from glitchtrace.repair.policies import influence

KIND = "policy"
CARD = {
    "summary": "Relabel and drop as many samples as the influence repair does, drawn uniformly; a sample "
    "that is relabelled takes its own proposed label.",
    "uses": {"detector": ["CNCI", "PCID", "CFRank"]},
    "default": True,
}


def propose(context: Context, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Actions and labels per sample, both (n,), with as many relabelled and dropped as in ``influence``.

    Those to relabel are drawn first, among the samples whose proposed label y⁻ is not the observed one, and
    those to drop among the rest, all without replacement.
    """
    actions, _ = influence.propose(context, rng)
    changeable = np.flatnonzero(context.proposed_labels("CNCI") != context.labels)
    relabel = _draw(rng, changeable, int((actions == Action.RELABEL).sum()), len(actions))
    drop = _draw(rng, np.flatnonzero(~relabel), int((actions == Action.DROP).sum()), len(actions))
    return resolve(context.labels, context.proposed_labels("CNCI"), relabel, drop)


def _draw(rng: np.random.Generator, candidates: np.ndarray, count: int, samples: int) -> np.ndarray:
    """``count`` of the ``candidates`` as a mask, bool (samples,)."""
    drawn = np.zeros(samples, dtype=bool)
    drawn[rng.choice(candidates, count, replace=False)] = True
    return drawn
