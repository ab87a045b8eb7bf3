"""Training dynamics: how the probability of the observed label went over the epochs.

p_t is the network's probability of the observed label after epoch t.  Sources: docs/methods/detectors.md.
"""

from collections.abc import Iterator

import numpy as np

from glitchtrace.detectors.evidence import Detection, Evidence
from glitchtrace.influence.closed_form import slices

KIND = "detector"
CARDS = {
    "AUM": {
        "label": "AUM",
        "summary": "Negated margin of the logits (observed label against the best other), mean over the epochs.",
        "needs": ["epochs"],
        "finds": "label",
        "family": "training dynamics",
        "default": True,
    },
    "mean_probability": {
        "label": "mean 1 − p",
        "summary": "1 − the probability of the observed label, mean over the epochs (confidence of cartography).",
        "needs": ["epochs"],
        "finds": "label",
        "family": "training dynamics",
        "default": True,
    },
    "variability": {
        "label": "variability",
        "summary": "Standard deviation of the probability of the observed label over the epochs (cartography).",
        "needs": ["epochs"],
        "finds": "both",
        "family": "training dynamics",
        "default": True,
    },
    "forgetting": {
        "label": "forgetting",
        "summary": "Epochs after which a sample once right was wrong; never learnt counts as one more than all.",
        "needs": ["epochs"],
        "finds": "both",
        "family": "training dynamics",
        "default": True,
    },
}
_TINY = np.finfo(np.float32).tiny
_BLOCK_VALUES = 2**20


def aum(evidence: Evidence) -> Detection:
    """− (1/T) Σ_t (z_ty − max_{c≠y} z_tc), (n,); differences of logits are those of log-probabilities.

    The class with the largest mean margin over all others is proposed.
    """
    own, proposed = np.empty(len(evidence)), np.empty(len(evidence), np.int64)
    for rows in _blocks(evidence):
        labels = evidence.labels[rows]
        total = np.zeros((len(labels), evidence.classes))
        for chances in evidence.epochs:
            logs = np.log(np.maximum(chances[rows].astype(np.float64), _TINY))
            order = np.sort(logs, axis=1)
            best_other = np.where(logs == order[:, -1:], order[:, -2:-1], order[:, -1:])
            total += logs - best_other
        margins = total / len(evidence.epochs)
        own[rows] = -margins[np.arange(len(labels)), labels]
        proposed[rows] = margins.argmax(axis=1)
    return Detection(own, proposed_labels=proposed)


def mean_probability(evidence: Evidence) -> Detection:
    """1 − (1/T) Σ_t p_t, (n,) in 0 … 1; the class of the largest mean probability is proposed."""
    own, confidence = np.empty(len(evidence)), np.empty(len(evidence))
    proposed = np.empty(len(evidence), np.int64)
    for rows in _blocks(evidence):
        labels = evidence.labels[rows]
        means = np.mean([chances[rows].astype(np.float64) for chances in evidence.epochs], axis=0)
        own[rows] = 1 - means[np.arange(len(labels)), labels]
        proposed[rows], confidence[rows] = means.argmax(axis=1), means.max(axis=1)
    return Detection(own, proposed_labels=proposed, confidence=confidence)


def variability(evidence: Evidence) -> Detection:
    """Standard deviation of p_t over the epochs, (n,)."""
    return Detection(_own(evidence).std(axis=0))


def forgetting(evidence: Evidence) -> Detection:
    """The number of epochs t after which a sample was wrong and right after t − 1, (n,); T where it never was right."""
    right = np.array([chances.argmax(axis=1) == evidence.labels for chances in evidence.epochs])
    forgotten = (right[:-1] & ~right[1:]).sum(axis=0)
    return Detection(np.where(right.any(axis=0), forgotten, len(right)).astype(np.float64))


def _blocks(evidence: Evidence) -> Iterator[slice]:
    """Rows in blocks of some MiB: all epochs side by side would be the largest arrays of a job."""
    size = max(1, _BLOCK_VALUES // (evidence.classes * len(evidence.epochs)))
    return slices(0, len(evidence), size)


def _own(evidence: Evidence) -> np.ndarray:
    """p_t of every sample, (T, n) float64."""
    rows = np.arange(len(evidence))
    return np.array([chances[rows, evidence.labels] for chances in evidence.epochs], np.float64)


COMPONENTS = {
    "AUM": aum,
    "mean_probability": mean_probability,
    "variability": variability,
    "forgetting": forgetting,
}
