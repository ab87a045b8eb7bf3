"""Repair by any detector: the most suspicious samples take the label that it proposes, or are dropped.

How many: as many as are wrong (``known``, which only an experiment knows), an estimated number, or a share.  A sample
is relabelled only where the detector is sure enough of its proposal.  Source: docs/methods/repair.md#by-any-detector.
"""

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion
from glitchtrace.detectors.ranks import flag_top
from glitchtrace.repair.actions import resolve
from glitchtrace.repair.context import Context

KIND = "policy"
CARDS = {
    "relabel": {
        "summary": "The most suspicious samples by one detector take the label that it is sure of, the rest stays.",
        "shares": "flagging",
        "settings": {
            "confidence": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "Confidence from which on a flagged sample takes the proposed label.",
                "default": 0.5,
            },
            "otherwise": {
                "enum": ["keep", "drop"],
                "description": "What happens to the other flagged samples.",
                "default": "keep",
            },
        },
    },
    "drop": {
        "summary": "The most suspicious samples by one detector are dropped: the baseline of every relabelling.",
        "shares": "flagging",
    },
}


class Relabel:
    """Relabel the flagged samples whose proposed label is sure; keep or drop the others."""

    def propose(
        self,
        context: Context,
        rng: np.random.Generator,
        *,
        detector: str,
        confidence: float,
        otherwise: str,
        number: str,
        counter: str,
        share: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Actions and labels per sample, both (n,); GlitchtraceError for a detector that proposes no label."""
        found, proposed = context.detection(detector), context.proposed_labels(detector)
        flagged = flag_top(found.scores, _number(context, number, counter, share))
        sure = np.ones(len(flagged), bool) if found.confidence is None else found.confidence >= confidence
        drop = flagged & ~sure if otherwise == "drop" else np.zeros(len(flagged), bool)
        return resolve(context.labels, proposed, flagged & sure, drop)


class Drop:
    """Drop the flagged samples."""

    def propose(
        self,
        context: Context,
        rng: np.random.Generator,
        *,
        detector: str,
        number: str,
        counter: str,
        share: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Actions and labels per sample, both (n,)."""
        flagged = flag_top(context.score(detector), _number(context, number, counter, share))
        return resolve(context.labels, context.labels, np.zeros(len(flagged), bool), flagged)


def _number(context: Context, number: str, counter: str, share: float) -> int:
    """How many samples are flagged; never all of them."""
    samples = len(context.labels)
    if number == "known":
        return context.mislabelled + context.anomalous
    if number == "share":
        return min(portion(share, samples), samples - 1)
    if counter not in context.numbers:
        raise GlitchtraceError(f"counter: '{counter}' was not asked; name an estimator of the number")
    return context.numbers[counter].rounded(samples)


COMPONENTS = {"relabel": Relabel(), "drop": Drop()}
