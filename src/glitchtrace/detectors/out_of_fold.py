"""Detectors from out-of-fold probabilities: what models say of samples that they have not seen, by cleanlab.

Source: docs/methods/detectors.md#confident-learning.
"""

from dataclasses import replace

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
    "self_confidence": {
        "label": "self-confidence",
        "summary": "Out of fold: 1 − p of the observed label (cleanlab); the scores of confident learning.",
        "needs": ["out_of_fold"],
        "finds": "label",
        "family": "out of fold",
    },
    "out_of_fold_margin": {
        "label": "margin, out of fold",
        "summary": "Out of fold: best other class against the observed label (cleanlab's normalised margin).",
        "needs": ["out_of_fold"],
        "finds": "label",
        "family": "out of fold",
    },
    "weighted_entropy": {
        "label": "weighted entropy",
        "summary": "Out of fold: entropy over the probability of the label (cleanlab, confidence weighted).",
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

    # One process: a job has one thread.
    flagged = find_label_issues(
        evidence.labels, exact(evidence.out_of_fold), filter_by="prune_by_noise_rate", n_jobs=1
    )
    return replace(_ranked(evidence, "self_confidence"), flags=flagged)


def self_confidence(evidence: Evidence) -> Detection:
    """1 − p_y, (n,) in 0 … 1."""
    return _ranked(evidence, "self_confidence")


def margin(evidence: Evidence) -> Detection:
    """(1 + max_{c≠y} p_c − p_y) / 2, (n,) in 0 … 1."""
    return _ranked(evidence, "normalized_margin")


def weighted_entropy(evidence: Evidence) -> Detection:
    """1 − cleanlab's quality by confidence-weighted entropy, (n,) in 0 … 1."""
    return _ranked(evidence, "confidence_weighted_entropy")


def _ranked(evidence: Evidence, method: str) -> Detection:
    """1 − cleanlab's label quality; the most probable class is proposed."""
    from cleanlab.rank import get_label_quality_scores

    probabilities = exact(evidence.out_of_fold)
    quality = get_label_quality_scores(evidence.labels, probabilities, method=method)
    return Detection(
        1 - quality, proposed_labels=probabilities.argmax(axis=1), confidence=probabilities.max(axis=1)
    )


COMPONENTS = {
    "confident_learning": confident_learning,
    "self_confidence": self_confidence,
    "out_of_fold_margin": margin,
    "weighted_entropy": weighted_entropy,
}
