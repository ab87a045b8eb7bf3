"""Captum's TracInCPFast on the head: the weight only, without the bias.

Source: captum.influence.TracInCPFast; Pruthi et al. 2020, appendix F.
"""

from collections.abc import Mapping
from typing import Any

from glitchtrace.influence.estimator import Estimator, EstimatorInputs, complete_settings

KIND = "estimator"
CARD = {
    "summary": "Captum's TracInCPFast on the head, without its bias: an independent implementation.",
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
    from captum.influence import TracInCPFast
    from torch.nn import CrossEntropyLoss

    from glitchtrace.influence.captum_bridge import CaptumInfluence

    def construct(network: Any, train: Any, checkpoints: Any, restore: Any) -> TracInCPFast:
        return TracInCPFast(
            model=network,
            final_fc_layer=network.head,
            train_dataset=train,
            checkpoints=checkpoints,
            checkpoints_load_func=restore,
            loss_fn=CrossEntropyLoss(reduction="sum"),
        )

    complete = complete_settings("captum_tracincp_fast", settings)
    return CaptumInfluence(cell, complete, construct, validation_in_batches=False)
