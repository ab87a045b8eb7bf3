"""Input activations of a network's last block, the features of ``counterfactual_features: last_block_input``.

For ResNet-20 the published code computed, in part of its processes, the counterfactual influence as
(a · a′)(e · e′) with a the flattened input of the last block instead of the pooled features of the head.
No gradient has this form; the option exists to reproduce those numbers.

Source: docs/methods/tracin.md#last-block-input.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.blocks import slices

if TYPE_CHECKING:
    from glitchtrace.data.preprocess import Inputs
    from glitchtrace.models.network import Network


def last_block_inputs(network: "Network", inputs: "Inputs", batch: int) -> np.ndarray:
    """Flattened input of the module named by ``network.last_block``, (size, a) float32, for all inputs.

    Raises GlitchtraceError where the network has no last block.
    """
    if network.last_block is None:
        raise GlitchtraceError(
            "counterfactual_features: this network has no last block; use head, or a model such as resnet20"
        )
    captured: list[np.ndarray] = []

    def capture(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        captured.append(arguments[0].flatten(1).numpy())

    handle = network.get_submodule(network.last_block).register_forward_pre_hook(capture)
    try:
        with torch.no_grad():
            for rows in slices(0, len(inputs), batch):
                network.features(inputs.batch(rows))
    finally:
        handle.remove()
    return np.concatenate(captured)
