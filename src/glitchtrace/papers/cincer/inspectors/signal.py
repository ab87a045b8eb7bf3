"""Any glitch signal as an inspector.

The signals score training samples by their influence on validation samples.  Here the known samples are both: with
inputs [h; 1] of the last layer and residuals r = e_y − p,

    J_kj = (r_k · r_j)([h_k; 1] · [h_j; 1]),   j ≠ k, j not the arriving sample,

is their influence at the model that has not seen the arriving sample.  The arriving sample is ranked among the known
ones, so that thresholds mean the same for every signal, dataset and model.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.detectors.influence_signals import score as signal_scores
from glitchtrace.influence.profile import (
    negative_labels,
    positive_labels,
    profile_from_matrix,
    profiles_from_matrices,
)
from glitchtrace.papers.cincer.gradients import FactoredGradients
from glitchtrace.papers.cincer.query import Query

KIND = "inspector"
CARD = {
    "summary": "Rank of the arriving sample among the known ones under a glitch signal, from 0 to 1.",
    "label": "Signal",
    "threshold": "share",
    "settings": {
        "signal": {
            "type": "string",
            "description": "Name of the signal.",
            "default": "CNCI",
        },
    },
}


def score(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """Share of the other known samples that are less suspicious; 0 where the signal is not defined."""
    known = np.asarray(query.known)
    labels = query.labels[known]
    gradients = query.gradients_of(known, top=True)
    assert isinstance(gradients, FactoredGradients)
    layer = gradients.layers[0]
    inner = layer.inputs @ layer.inputs[:-1].T
    np.fill_diagonal(inner, 0)
    others, probabilities = layer.residuals[:-1], np.eye(query.classifier.classes)[labels] - layer.residuals

    def influence(annotated: np.ndarray) -> np.ndarray:
        found: np.ndarray = ((np.eye(query.classifier.classes)[annotated] - probabilities) @ others.T) * inner
        return found

    measured = influence(labels)
    classes = np.unique(labels)
    profile = profile_from_matrix(measured, labels[:-1], classes)
    profiles = profiles_from_matrices(
        influence=measured,
        self_influence=(layer.residuals**2).sum(axis=1) * (layer.inputs**2).sum(axis=1),
        labels=labels,
        validation_labels=labels[:-1],
        counterfactual_negative=influence(negative_labels(profile, classes, labels)),
        counterfactual_positive=influence(positive_labels(profile, classes, labels)),
    )
    scores = signal_scores(settings["signal"], profiles)
    return float(np.mean(scores[:-1] < scores[-1]))
