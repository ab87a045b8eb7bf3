"""Inspectors: which arriving samples are suspicious."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.curvature import inverse_hessian_products
from glitchtrace.papers.cincer.gradients import FactoredGradients
from glitchtrace.papers.cincer.query import Query

KIND = "inspector"
CARDS = {
    "always": {
        "summary": "Trusts the annotator always: no question is asked; on clean labels, the upper bound.",
        "label": "No question",
        "threshold": "unused",
    },
    "never": {
        "summary": "Trusts the annotator never: asks whenever the model predicts another label.",
        "label": "Every disagreement",
        "threshold": "unused",
    },
    "random": {
        "summary": "Suspicious with the probability given by the threshold, one draw per arriving sample.",
        "label": "Random",
        "threshold": "share",
        "draws": True,
    },
    "margin": {
        "summary": "Probability of the model's label minus that of the annotator's; published with threshold 0.2.",
        "label": "Margin",
        "threshold": "inside the unit interval",
    },
    "fisher": {
        "summary": "Squared length of the gradient of the log-probability of the annotator's label.",
        "label": "Fisher",
        "threshold": "above one",
    },
    "gradient": {
        "summary": "Expected squared length of the loss gradient under the model's own probabilities.",
        "label": "Expected gradient length",
        "threshold": "positive",
    },
    "influence": {
        "summary": "Length of the influence of the sample on the parameters, ‖H⁻¹∇ℓ‖ / |K|.",
        "label": "Influence",
        "threshold": "positive",
        "settings": {
            "solver": {
                "enum": ["lissa", "cg", "exact"],
                "description": "How H⁻¹∇ℓ is found: LiSSA as published, conjugate gradients, or the whole matrix.",
                "default": "lissa",
            },
            "damping": {
                "type": "number",
                "minimum": 0,
                "description": "λ added to the Hessian.",
                "default": 0.0,
            },
            "depth": {
                "only_with": {"solver": ["lissa"]},
                "type": "integer",
                "minimum": 1,
                "description": "Steps of one LiSSA run.",
                "default": 1000,
            },
            "samples": {
                "only_with": {"solver": ["lissa"]},
                "type": "integer",
                "minimum": 1,
                "description": "Independent LiSSA runs, averaged.",
                "default": 1,
            },
        },
    },
    "signal": {
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
    },
}

Score = Callable[[Query, Mapping[str, Any], np.random.RandomState], float]


@dataclass(frozen=True)
class Scorer:
    """An inspector with a score: ``score(query, settings, rng)``, suspicious above a threshold."""

    score: Score


@dataclass(frozen=True)
class Drawer:
    """An inspector without a score: ``draw(threshold, rng)`` says whether the sample is suspicious."""

    draw: Callable[[float, np.random.RandomState], bool]


def _draw(threshold: float, rng: np.random.RandomState) -> bool:
    """A Bernoulli draw."""
    return bool(rng.binomial(1, threshold))


def _margin(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """p(ŷ|x) − p(ỹ|x), in [0, 1]."""
    return float(query.probabilities[query.predicted] - query.probabilities[query.annotated])


def _fisher(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """‖∇_θ log p(ỹ|x)‖²."""
    gradient = query.own_gradient()
    return float(gradient.dot(gradient)[0, 0])


def _gradient(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """Expected gradient length Σ_c p(c|x) ‖∇_θ ℓ(x, c)‖²."""
    columns, weights = query.fisher_columns([query.example])
    return float(
        weights
        @ [columns.take(np.array([c])).dot(columns.take(np.array([c])))[0, 0] for c in range(len(weights))]
    )


def _influence(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """‖H⁻¹∇ℓ(x, ỹ)‖ / |K| with H over the known samples, the example among them."""
    loss_gradient = -query.own_gradient().vectors()
    solution = inverse_hessian_products(query, loss_gradient, {**settings, "draws": "known"}, rng)[0]
    return float(np.linalg.norm(solution) / len(query.known))


def _signal(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """Share of the other known samples that are less suspicious; 0 where the signal is not defined.

    The signals score training samples by their influence on validation samples.  Here the known samples are both:
    with inputs [h; 1] of the last layer and residuals r = e_y − p,

        J_kj = (r_k · r_j)([h_k; 1] · [h_j; 1]),   j ≠ k, j not the arriving sample,

    is their influence at the model that has not seen the arriving sample.  The arriving sample is ranked among the
    known ones, so that thresholds mean the same for every signal, dataset and model.
    """
    from glitchtrace.detectors.influence_signals import score as signal_scores
    from glitchtrace.influence.profile import (
        negative_labels,
        positive_labels,
        profile_from_matrix,
        profiles_from_matrices,
    )

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


COMPONENTS: dict[str, Scorer | Drawer] = {
    "always": Scorer(lambda query, settings, rng: float("-inf")),
    "never": Scorer(lambda query, settings, rng: float("inf")),
    "random": Drawer(_draw),
    "margin": Scorer(_margin),
    "fisher": Scorer(_fisher),
    "gradient": Scorer(_gradient),
    "influence": Scorer(_influence),
    "signal": Scorer(_signal),
}
