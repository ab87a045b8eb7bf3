"""Isolation forest on the features of the trained network, an outlier baseline.

Fitted on the features of the validation samples, passed several times with the augmentation of the protocol;
scored on the training samples without augmentation.  Source: docs/methods/sgd-influence.md#rivals (Hara et
al. 2019, section 7.2).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from glitchtrace.core.seeding import generator
from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.training.sgd import batches

KIND = "cleansing_method"
CARD = {
    "label": "isolation forest",
    "summary": "Isolation forest on the inputs of the head, fitted on augmented validation samples.",
    "settings": {
        "passes": {
            "type": "integer",
            "minimum": 1,
            "description": "Augmented passes over the validation samples that the forest is fitted on.",
            "default": 20,
        },
        "trees": {"type": "integer", "minimum": 1, "description": "Number of trees.", "default": 100},
    },
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """How easily a sample is isolated, (n,), higher = more of an outlier."""
    from sklearn.ensemble import IsolationForest

    rng = generator(problem.seed, "isolation forest")
    cell, network = problem.setting.cell, problem.restore()

    def features(inputs: Any, *, augmented: bool) -> np.ndarray:
        parts = []
        for rows in batches(np.arange(len(inputs)), problem.evaluation_batch):
            x = inputs.batch(rows)
            if augmented:
                x = problem.setting.augmentation.apply(x, rng.integers(2**62, size=len(rows)))
            parts.append(network.features(x.to(problem.device)).cpu().numpy())
        return np.concatenate(parts)

    with torch.inference_mode():
        seen = np.concatenate([features(cell.validation, augmented=True) for _ in range(settings["passes"])])
        asked = features(cell.train, augmented=False)
    forest = IsolationForest(n_estimators=settings["trees"], random_state=int(rng.integers(2**31)), n_jobs=1)
    return Scored(-forest.fit(seen).score_samples(asked))
