"""Relative influence (RelatIF)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.influence_functions import loss_relative, parameter_relative
from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking, by_score, signed
from glitchtrace.papers.cincer.solvers import inverse_hessian_products

KIND = "negotiator"
CARD = {
    "name": "relatif",
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
}


def rank(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> Ranking:
    """As ``if``, divided by the size of what leaving the candidate out changes; one solution per candidate."""
    gradients = -query.gradients_of(query.candidates).vectors()
    solutions = inverse_hessian_products(query, gradients, settings, rng)
    target = query.prediction_gradient()
    if settings["relative_to"] == "parameters":
        scores = parameter_relative(solutions, target)
    else:
        scores = loss_relative(solutions, target, gradients)
    return by_score(query.candidates, signed(scores, settings["sign"]))
