"""Products with the inverse Hessian at the model of a query, by the solver that the settings name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer import influence_functions
from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.sizes import EXACT_PARAMETERS


def inverse_hessian_products(
    query: Query, vectors: np.ndarray, settings: Mapping[str, Any], rng: np.random.RandomState
) -> np.ndarray:
    """(H + λI)⁻¹ u for the rows u of ``vectors`` (k, P), H being the mean over the known samples.

    Settings: ``solver`` (exact, cg, lissa), ``damping``, and for LiSSA ``depth``, ``samples`` and ``draws``: whether
    it draws from the known samples or, as published, from all training samples, unseen ones with their possibly
    wrong labels included.  Raises GlitchtraceError for a curvature that the solver cannot invert.
    """
    damping = float(settings["damping"])
    solver = settings["solver"]
    if solver == "exact":
        parameters = vectors.shape[1]
        if parameters > EXACT_PARAMETERS:
            raise GlitchtraceError(
                f"solver: exact is for at most {EXACT_PARAMETERS} parameters, the model has {parameters}; use cg"
            )
        hessian = influence_functions.dense_hessian(query.mean_hessian_product, parameters)
        return influence_functions.solve_exactly(hessian, vectors, damping)
    if solver == "cg":
        return np.stack(
            [
                influence_functions.solve_by_conjugate_gradients(query.mean_hessian_product, vector, damping)
                for vector in vectors
            ]
        )
    drawn_from = np.arange(len(query.inputs)) if settings["draws"] == "all" else np.asarray(query.known)
    return np.stack(
        [
            influence_functions.solve_by_lissa(
                query.sample_hessian_product,
                vector,
                damping,
                [rng.choice(drawn_from, settings["depth"]) for _ in range(settings["samples"])],
            )
            for vector in vectors
        ]
    )
