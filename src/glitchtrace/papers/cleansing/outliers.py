"""Outlier baselines of data cleansing: two detectors of anomalies, fitted on the validation samples.

Source: docs/methods/sgd-influence.md#rivals (Hara et al. 2019, section 7.2).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glitchtrace.core.seeding import generator
from glitchtrace.detectors.anomalies import isolation_scores
from glitchtrace.detectors.picture_autoencoder import reconstruction_errors
from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.training.sgd import batches

KIND = "cleansing_method"
CARDS = {
    "autoencoder": {
        "label": "autoencoder",
        "summary": "Reconstruction error of an autoencoder trained on the validation pictures.",
        "views": ["pictures"],
        "reads": "nothing",
        "settings": {
            "epochs": {
                "type": "integer",
                "minimum": 1,
                "description": "Passes over the validation pictures.",
                "default": 20,
            },
            "learning_rate": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "Rate of Adam.",
                "default": 0.001,
            },
            "batch_size": {
                "type": "integer",
                "minimum": 1,
                "description": "Pictures per step.",
                "default": 128,
            },
        },
    },
    "isolation_forest": {
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
    },
}


class Reconstruction:
    """The autoencoder of pictures, trained on the validation set with the augmentation of the protocol."""

    def score(self, problem: Problem, settings: Mapping[str, Any]) -> Scored:
        """Mean squared reconstruction error of the training pictures without augmentation, (n,)."""
        cell, rng = problem.setting.cell, generator(problem.seed, "autoencoder")

        def augmented(rows: np.ndarray) -> Tensor:
            seeds = rng.integers(2**62, size=len(rows))
            return problem.setting.augmentation.apply(cell.validation.batch(rows), seeds)

        errors = reconstruction_errors(
            augmented,
            len(cell.validation),
            cell.train.batch,
            len(cell.train),
            channels=cell.train.shape[0],
            rng=rng,
            epochs=settings["epochs"],
            learning_rate=settings["learning_rate"],
            batch_size=settings["batch_size"],
            evaluation_batch=problem.evaluation_batch,
            device=problem.device,
        )
        return Scored(errors)


class Isolation:
    """The isolation forest on the features of the trained network, fitted on augmented validation samples."""

    def score(self, problem: Problem, settings: Mapping[str, Any]) -> Scored:
        """How easily a sample is isolated, (n,), higher = more of an outlier."""
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
            seen = np.concatenate(
                [features(cell.validation, augmented=True) for _ in range(settings["passes"])]
            )
            asked = features(cell.train, augmented=False)
        return Scored(isolation_scores(seen, asked, settings["trees"], int(rng.integers(2**31))))


COMPONENTS = {"autoencoder": Reconstruction(), "isolation_forest": Isolation()}
