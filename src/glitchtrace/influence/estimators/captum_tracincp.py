"""Captum's TracInCP on the head, weight and bias.

Source: captum.influence.TracInCP; Pruthi et al. 2020.
"""

from collections.abc import Mapping
from typing import Any

from glitchtrace.influence.estimator import Estimator, EstimatorInputs, complete_settings

KIND = "estimator"
CARD = {
    "summary": "Captum's TracInCP on the head, with its bias: an independent implementation, slow.",
    "settings": {
        "batch": {
            "description": "Samples per pass through the network.",
            "default": 128,
            "type": "integer",
            "minimum": 1,
        },
        "memory_mib": {
            "description": "Memory of one block of rows of the influence matrix, MiB.",
            "default": 64,
            "type": "number",
            "exclusiveMinimum": 0,
        },
    },
}


def open_cell(cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
    """The estimator of one cell."""
    from captum.influence import TracInCP
    from torch.nn import CrossEntropyLoss

    from glitchtrace.influence.captum_bridge import CaptumInfluence

    def construct(network: Any, train: Any, checkpoints: Any, restore: Any) -> TracInCP:
        return TracInCP(
            model=network,
            train_dataset=train,
            checkpoints=checkpoints,
            checkpoints_load_func=restore,
            layers=["head"],
            loss_fn=CrossEntropyLoss(reduction="sum"),
            sample_wise_grads_per_batch=True,
        )

    complete = complete_settings("captum_tracincp", settings)
    return CaptumInfluence(cell, complete, construct, validation_in_batches=True)
