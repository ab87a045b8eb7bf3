"""Repair by influence at the known ratio: CNCI's label for the mislabelled, PCID's drop for the anomalous.

Source: docs/methods/repair.md#policies.
"""

import numpy as np

from glitchtrace.detectors.ranks import flag_top
from glitchtrace.glitches.kinds import Kind
from glitchtrace.repair.actions import resolve
from glitchtrace.repair.context import Context

KIND = "policy"
CARD = {
    "summary": "Relabel the most suspicious samples by CNCI, drop those by PCID, or let CFRank decide where "
    "both kinds are present; as many samples as are known to be wrong.",
    "uses": {"detector": ["CNCI", "PCID", "CFRank"]},
    "default": True,
}


def propose(context: Context, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Actions and labels per sample, both (n,), from scores and from the number of glitches of each kind.

    Only mislabelled samples: the k highest CNCI take their proposed label y⁻.  Only anomalous ones: the k
    highest PCID are dropped.  Both: the D = k + k' highest CFRank are relabelled or dropped as their verdict
    says.  A sample whose proposed label is the observed one is kept.
    """
    nobody = np.zeros(len(context.labels), dtype=bool)
    relabel, drop = nobody, nobody
    if context.mislabelled and context.anomalous:
        detected = flag_top(context.score("CFRank"), context.mislabelled + context.anomalous)
        relabel = detected & (context.detection("CFRank").kinds == Kind.MISLABELLED)
        drop = detected & ~relabel
    elif context.mislabelled:
        relabel = flag_top(context.score("CNCI"), context.mislabelled)
    elif context.anomalous:
        drop = flag_top(context.score("PCID"), context.anomalous)
    return resolve(context.labels, context.proposed_labels("CNCI"), relabel, drop)
