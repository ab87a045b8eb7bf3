"""Negotiators: which known sample is shown as the counter-example of a suspicious one.

The Fisher kernel of the last dense layer needs no differentiation: for logits z = Wᵀh + b the gradient of log p(c|x)
is the Kronecker product [h; 1] ⊗ (e_c − p), so that F = mean [h; 1][h; 1]ᵀ ⊗ (diag p − ppᵀ) takes one forward pass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.papers.cincer import curvature
from glitchtrace.papers.cincer.query import Query, Ranking, by_score, signed

KIND = "negotiator"
CARDS = {
    "random": {
        "summary": "A candidate drawn at random.",
        "label": "Random",
        "unscored": True,
    },
    "nearest": {
        "summary": "The candidate nearest to the suspicious sample.",
        "label": "NN",
    },
    "practical_fisher": {
        "summary": "Inner product of the gradients of all layers: the Fisher kernel with the identity for a matrix.",
        "label": "Practical Fisher",
        "shares": "sign",
    },
    "top_fisher": {
        "summary": "Fisher kernel of the last dense layer: the choice of CINCER.",
        "label": "Top Fisher",
        "shares": ["sign", "fisher"],
    },
    "ce_removal": {
        "summary": (
            "Chooses as top_fisher; drops the counter-example where the annotator confirms the suspicious label."
        ),
        "label": "Drop CE",
        "drops": True,
        "shares": ["sign", "fisher"],
    },
    "nearest_fisher": {
        "summary": "Top Fisher among the candidates within a radius; the nearest one where there is none.",
        "label": "Nearest Fisher",
        "shares": ["sign", "fisher"],
        "settings": {
            "radius": {
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "description": "Radius as a share of the largest distance between two samples.",
                "default": 0.25,
            },
            "diameter_of": {
                "enum": ["experiment", "training"],
                "description": "Samples whose largest distance counts: those of the run (known and stream), or, as "
                "published, the whole training part, which takes minutes for 60,000 pictures.",
                "default": "experiment",
            },
        },
    },
    "full_fisher": {
        "summary": "Fisher kernel of all layers with the whole Fisher matrix over the known samples.",
        "label": "Full Fisher",
        "whole_fisher": True,
        "shares": ["sign", "fisher"],
        # Without damping most of its scores are 0 in exact arithmetic.
        "defaults": {"damping": 0.01, "sample": None},
    },
    "block_fisher": {
        "summary": "Fisher kernel of all layers with one block of the Fisher matrix per parameter tensor.",
        "label": "Block Fisher",
        "whole_fisher": True,
        "shares": ["sign", "fisher"],
        "defaults": {"damping": 0.01, "sample": None},
    },
    "approx_fisher": {
        "summary": "Fisher kernel of all layers with the diagonal of the Fisher matrix.",
        "label": "Diagonal Fisher",
        "whole_fisher": True,
        "shares": "sign",
        "settings": {
            "damping": {
                "type": "number",
                "minimum": 0,
                "description": "λ added to the diagonal; with 0, entries without curvature are left out.",
                "default": 0.01,
            },
            "sample": {
                "type": ["integer", "null"],
                "minimum": 1,
                "description": (
                    "Known samples, drawn anew per question, that the Fisher matrix is made of; null takes all."
                ),
                "default": None,
            },
        },
    },
    "if": {
        "summary": "Influence of a candidate on the probability of the annotator's label, by influence functions.",
        "label": "IF",
        "shares": ["sign", "influence"],
    },
    "nearest_if": {
        "summary": "Influence functions among the candidates nearest to the suspicious sample.",
        "label": "Nearest IF",
        "shares": ["sign", "influence"],
        "settings": {
            "neighbours": {
                "type": "integer",
                "minimum": 1,
                "description": "Number of nearest candidates.",
                "default": 100,
            },
        },
    },
    "relatif": {
        "summary": "Influence of a candidate relative to the change it causes in parameters or loss (RelatIF).",
        "label": "RelatIF",
        "shares": ["sign", "influence"],
        "defaults": {"solver": "cg"},
        "settings": {
            "relative_to": {
                "enum": ["parameters", "loss"],
                "description": "θ-RelatIF divides by ‖H⁻¹∇ℓ_k‖, ℓ-RelatIF by the root of ∇ℓ_kᵀH⁻¹∇ℓ_k.",
                "default": "parameters",
            },
        },
    },
    "no_ce": {
        "summary": "Shows no counter-example: the suspicious sample is asked about alone.",
        "label": "No CE",
        "silent": True,
    },
}

Rank = Callable[[Query, Mapping[str, Any], np.random.RandomState], Ranking]


@dataclass(frozen=True)
class Chooser:
    """How candidates are ordered: ``rank(query, settings, rng)``; None shows no counter-example."""

    rank: Rank | None


# --- scores -----------------------------------------------------------------------------------------------------


def fisher_sample(query: Query, size: int | None, rng: np.random.RandomState) -> Sequence[int]:
    """The known samples of a Fisher matrix: the first ``size`` of one permutation, as published; all for None.

    Where fewer are known than asked for, the Fisher matrix is their mean; published was a division by the size
    asked for, which only scales all scores.
    """
    if size is None:
        return query.known
    return [int(sample) for sample in rng.permutation(query.known)[:size]]


def top_scores(
    query: Query, candidates: np.ndarray, settings: Mapping[str, Any], rng: np.random.RandomState
) -> np.ndarray:
    """a_iᵀ F⁻¹ a_k of the last layer's gradients a; settings sign, damping, cutoff and sample."""
    sample = fisher_sample(query, settings["sample"], rng)
    columns, weights = query.fisher_columns(sample, top=True)
    scores = curvature.fisher_scores(
        query.own_gradient(top=True),
        query.gradients_of(candidates, top=True),
        columns,
        weights,
        damping=settings["damping"],
        cutoff=settings["cutoff"],
        drawn=len(sample) < len(query.known),
    )
    return signed(scores, settings["sign"])


def influence_scores(
    query: Query, candidates: np.ndarray, settings: Mapping[str, Any], rng: np.random.RandomState
) -> np.ndarray:
    """−∇p(ỹ_i|x_i)ᵀ H⁻¹ ∇ℓ(z_k), all layers: H⁻¹∇p is found once and serves all candidates."""
    solution = curvature.inverse_hessian_products(query, query.prediction_gradient()[None], settings, rng)
    scores = query.gradients_of(candidates).times(solution)[:, 0]
    return signed(scores, settings["sign"])


# --- orders -----------------------------------------------------------------------------------------------------


def _random(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """One draw; the other candidates follow in a drawn order where the whole order is wanted."""
    chosen = rng.choice(query.candidates)
    others = query.candidates[query.candidates != chosen]
    if query.whole_order:
        others = rng.permutation(others)
    return Ranking(np.concatenate([[chosen], others]))


def _nearest(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By −‖x_i − x_k‖ on flattened inputs."""
    return by_score(query.candidates, -query.distances)


def _practical_fisher(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By g_i · g_k over all layers."""
    scores = query.own_gradient().dot(query.gradients_of(query.candidates))[0]
    return by_score(query.candidates, signed(scores, settings["sign"]))


def _top_fisher(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By ``top_scores``."""
    return by_score(query.candidates, top_scores(query, query.candidates, settings, rng))


def _nearest_fisher(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """Near candidates by top Fisher, then the others by distance."""
    radius = settings["radius"] * query.diameter(settings["diameter_of"])
    near = query.distances <= radius
    others = by_score(query.candidates[~near], -query.distances[~near])
    if not near.any():
        return others
    inside = query.candidates[near]
    first = by_score(inside, top_scores(query, inside, settings, rng))
    return _followed(first, others.order)


def _full_fisher(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By g_iᵀ F⁻¹ g_k over all layers."""
    sample = fisher_sample(query, settings["sample"], rng)
    columns, weights = query.fisher_columns(sample)
    scores = curvature.fisher_scores(
        query.own_gradient(),
        query.gradients_of(query.candidates),
        columns,
        weights,
        damping=settings["damping"],
        cutoff=settings["cutoff"],
        drawn=len(sample) < len(query.known),
    )
    return by_score(query.candidates, signed(scores, settings["sign"]))


def _block_fisher(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By Σ_b g_ibᵀ (F_b + λI)⁻¹ g_kb, b over kernels and biases."""
    sample = fisher_sample(query, settings["sample"], rng)
    columns, weights = query.fisher_columns(sample)
    scores = curvature.block_scores(
        query.own_gradient(),
        query.gradients_of(query.candidates),
        columns,
        weights,
        damping=settings["damping"],
        cutoff=settings["cutoff"],
        drawn=len(sample) < len(query.known),
    )
    return by_score(query.candidates, signed(scores, settings["sign"]))


def _approx_fisher(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By Σ_m g_im g_km / (F_mm + λ).

    Published was the mean of 1/g², which is infinite as soon as one gradient has a zero; here the mean is inverted.
    """
    columns, weights = query.fisher_columns(fisher_sample(query, settings["sample"], rng))
    scores = curvature.diagonal_scores(
        query.own_gradient(),
        query.gradients_of(query.candidates),
        columns,
        weights,
        damping=settings["damping"],
    )
    return by_score(query.candidates, signed(scores, settings["sign"]))


def _influence(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """By ``influence_scores``."""
    return by_score(query.candidates, influence_scores(query, query.candidates, settings, rng))


def _nearest_influence(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """The nearest candidates by influence, then the others by distance."""
    places = np.argsort(query.distances, kind="stable")
    near, far = np.split(places, [settings["neighbours"]])
    inside = query.candidates[np.sort(near)]
    first = by_score(inside, influence_scores(query, inside, settings, rng))
    return _followed(first, query.candidates[far])


def _relative_influence(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """As ``if``, divided by the size of what leaving the candidate out changes; one solution per candidate."""
    gradients = -query.gradients_of(query.candidates).vectors()
    solutions = curvature.inverse_hessian_products(query, gradients, settings, rng)
    target = query.prediction_gradient()
    if settings["relative_to"] == "parameters":
        scores = curvature.parameter_relative(solutions, target)
    else:
        scores = curvature.loss_relative(solutions, target, gradients)
    return by_score(query.candidates, signed(scores, settings["sign"]))


def _followed(first: Ranking, others: np.ndarray) -> Ranking:
    """An order with other candidates behind it."""
    return Ranking(
        np.concatenate([first.order, others]),
        np.concatenate([np.asarray(first.scores), np.full(len(others), -np.inf)]),
    )


COMPONENTS = {
    "random": Chooser(_random),
    "nearest": Chooser(_nearest),
    "practical_fisher": Chooser(_practical_fisher),
    "top_fisher": Chooser(_top_fisher),
    "ce_removal": Chooser(_top_fisher),
    "nearest_fisher": Chooser(_nearest_fisher),
    "full_fisher": Chooser(_full_fisher),
    "block_fisher": Chooser(_block_fisher),
    "approx_fisher": Chooser(_approx_fisher),
    "if": Chooser(_influence),
    "nearest_if": Chooser(_nearest_influence),
    "relatif": Chooser(_relative_influence),
    "no_ce": Chooser(None),
}
