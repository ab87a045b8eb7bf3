"""Influence of candidates on the probability of the annotator's label."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import signed
from glitchtrace.papers.cincer.solvers import inverse_hessian_products


def influence_scores(
    query: Query, candidates: np.ndarray, settings: Mapping[str, Any], rng: np.random.RandomState
) -> np.ndarray:
    """−∇p(ỹ_i|x_i)ᵀ H⁻¹ ∇ℓ(z_k): H⁻¹∇p is found once and serves all candidates."""
    solution = inverse_hessian_products(query, query.prediction_gradient()[None], settings, rng)
    scores = query.gradients_of(candidates).times(solution)[:, 0]
    return signed(scores, settings["sign"])
