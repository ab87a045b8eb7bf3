"""CFRank: max(r^C_i, r^P_i), the better of a sample's ranks by CNCI and by PCID.

Ranks are positions in ascending order, ties by index, so that n − 1 is the most suspicious and each value
occurs at most twice.  Source: docs/methods/signals.md#cfrank.
"""

import numpy as np

from glitchtrace.detectors.ranks import ascending_ranks
from glitchtrace.detectors.signals import cnci, pcid
from glitchtrace.influence.profile import Profiles

KIND = "signal"
CARD = {
    "name": "CFRank",
    "label": "CFRank",
    "summary": "The higher of a sample's ranks by CNCI and by PCID, for mixed glitches.",
    "target": "any",
}


def score(profiles: Profiles) -> np.ndarray:
    """The higher rank, (n,) float64."""
    ranks = np.maximum(ascending_ranks(cnci.score(profiles)), ascending_ranks(pcid.score(profiles)))
    return ranks.astype(np.float64)
