"""The plain rivals: what the cell's own network says of the samples that it was trained on, after its last epoch.

Sources: docs/methods/detectors.md.
"""

import numpy as np

from glitchtrace.detectors.evidence import Detection, Evidence

KIND = "detector"
CARDS = {
    "one_minus_p": {
        "label": "1 − p",
        "summary": "1 − the network's probability of the observed label.",
        "needs": ["probabilities"],
        "finds": "label",
        "family": "plain",
        "default": True,
    },
    "loss": {
        "label": "loss",
        "summary": "The network's cross-entropy of the observed label; ranks as 1 − p does.",
        "needs": ["probabilities"],
        "finds": "label",
        "family": "plain",
        "default": True,
    },
}


def one_minus_p(evidence: Evidence) -> Detection:
    """1 − p_y, (n,) in 0 … 1; the most probable class is proposed."""
    chances = evidence.probabilities
    return Detection(
        1 - _own(evidence).astype(np.float64),
        proposed_labels=chances.argmax(axis=1),
        confidence=chances.max(axis=1).astype(np.float64),
    )


def loss(evidence: Evidence) -> Detection:
    """−ln p_y in nats, (n,); +inf where the network excludes the label."""
    with np.errstate(divide="ignore"):
        return Detection(-np.log(_own(evidence).astype(np.float64)))


def _own(evidence: Evidence) -> np.ndarray:
    result: np.ndarray = evidence.probabilities[np.arange(len(evidence)), evidence.labels]
    return result


COMPONENTS = {"one_minus_p": one_minus_p, "loss": loss}
