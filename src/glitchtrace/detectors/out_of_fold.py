"""Detectors from out-of-fold probabilities: what models say of samples that they have not seen, by cleanlab.

Source: docs/methods/detectors.md#confident-learning.
"""

import numpy as np

from glitchtrace.detectors.evidence import Detection, Evidence

KIND = "detector"
CARDS = {
    "confident_learning": {
        "label": "confident learning",
        "summary": "Out of fold: 1 − p of the observed label; flags by confident learning (cleanlab, by noise rate).",
        "needs": ["out_of_fold"],
        "finds": "label",
        "family": "out of fold",
    },
}


def exact(probabilities: np.ndarray) -> np.ndarray:
    """The same in float64 with rows that sum to one: cleanlab refuses the rounding of float32."""
    found = probabilities.astype(np.float64)
    found /= found.sum(axis=1, keepdims=True)
    return found


def confident_learning(evidence: Evidence) -> Detection:
    """1 − p(label), higher = more suspicious; the most probable class; cleanlab's own choice, pruned by noise rate."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    probabilities = exact(evidence.out_of_fold)
    # One process: a job has one thread.
    flagged = find_label_issues(evidence.labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    quality = get_label_quality_scores(evidence.labels, probabilities, method="self_confidence")
    return Detection(1 - quality, proposed_labels=probabilities.argmax(axis=1), flags=flagged)


COMPONENTS = {"confident_learning": confident_learning}
