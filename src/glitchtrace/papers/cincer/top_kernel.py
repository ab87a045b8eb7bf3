"""The Fisher kernel of the last dense layer.

For logits z = Wᵀh + b the gradient of log p(c|x) is the Kronecker product [h; 1] ⊗ (e_c − p), so that
F = mean [h; 1][h; 1]ᵀ ⊗ (diag p − ppᵀ): one forward pass, no differentiation.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.cincer.curvature import fisher_scores
from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import signed
from glitchtrace.papers.cincer.sampling import fisher_sample


def top_scores(
    query: Query, candidates: np.ndarray, settings: Mapping[str, Any], rng: np.random.RandomState
) -> np.ndarray:
    """a_iᵀ F⁻¹ a_k for the given candidates; settings sign, damping, cutoff and sample."""
    columns, weights = query.fisher_columns(fisher_sample(query, settings["sample"], rng), top=True)
    scores = fisher_scores(
        query.own_gradient(top=True),
        query.gradients_of(candidates, top=True),
        columns,
        weights,
        damping=settings["damping"],
        cutoff=settings["cutoff"],
    )
    return signed(scores, settings["sign"])
