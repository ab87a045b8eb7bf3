"""Length of the change of the parameters that the sample would cause."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.solvers import inverse_hessian_products

KIND = "inspector"
CARD = {
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
            "type": "integer",
            "minimum": 1,
            "description": "Steps of one LiSSA run.",
            "default": 1000,
        },
        "samples": {
            "type": "integer",
            "minimum": 1,
            "description": "Independent LiSSA runs, averaged.",
            "default": 1,
        },
    },
}


def score(query: Query, settings: Mapping[str, Any], rng: np.random.RandomState) -> float:
    """‖H⁻¹∇ℓ(x, ỹ)‖ / |K| with H over the known samples, the example among them."""
    loss_gradient = -query.own_gradient().vectors()
    solution = inverse_hessian_products(query, loss_gradient, {**settings, "draws": "known"}, rng)[0]
    return float(np.linalg.norm(solution) / len(query.known))
