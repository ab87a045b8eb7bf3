"""TracIn of any layers of any network, by vectorised per-sample gradients.

With g_t(x, y) the gradient of the cross-entropy with respect to the parameters of the chosen layers at
checkpoint t,

    J_ij = Σ_t η_t ⟨g_t(x_i, y_i), g_t(z_j, v_j)⟩,    s_i = Σ_t η_t ‖g_t(x_i, y_i)‖².

Gradients are made for some samples at a time by ``torch.func``, in eval mode.  On a linear head this equals
the closed form up to rounding; it costs one backward pass per sample where the closed form costs none.

``last_block_inputs`` are the features of ``counterfactual_features: last_block_input``.  For ResNet-20 the published
code computed, in part of its processes, the counterfactual influence as (a · a′)(e · e′) with a the flattened input of
the last block instead of the pooled features of the head.  No gradient has this form; the option exists to reproduce
those numbers.

Source: Pruthi et al. 2020 (TracIn), equation 5; docs/methods/tracin.md#chosen-layers and #last-block-input.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy
from torch.overrides import TorchFunctionMode

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.closed_form import rows_in, slices
from glitchtrace.influence.estimator import Checkpoint, Estimator
from glitchtrace.influence.factors import check_labels, check_positions

if TYPE_CHECKING:
    from glitchtrace.data.preprocess import Inputs
    from glitchtrace.models.network import Network


@dataclass(frozen=True)
class Samples:
    """Inputs and their labels, (size,)."""

    inputs: "Inputs"
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class PerSampleInfluence(Estimator):
    """Influence through all parameters of the modules named by ``layers``.

    ``include_bias``: whether parameters called ``bias`` count; ``counterfactual_include_bias`` is the same
    for other training labels.  ``batch``: samples per pass through the network.  ``memory_mib`` bounds the
    validation gradients held at once, and the block of J; each block repeats the pass over the training
    samples.  Raises GlitchtraceError for a module that the network does not have or that has no such
    parameters.
    """

    def __init__(
        self,
        network: "Network",
        checkpoints: Sequence[Checkpoint],
        train: Samples,
        validation: Samples,
        *,
        layers: Sequence[str],
        include_bias: bool = True,
        counterfactual_include_bias: bool = True,
        batch: int = 128,
        memory_mib: float = 256,
    ) -> None:
        self._network, self._checkpoints = network, checkpoints
        self._train, self._validation = train, validation
        self._parameters = parameters_of(network, layers, include_bias)
        self._counterfactual_parameters = parameters_of(network, layers, counterfactual_include_bias)
        self._batch, self._memory_mib = batch, memory_mib

    def blocks(
        self, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and their block of J, (b, m) float32; see ``Estimator.blocks``."""
        train = self._train if labels is None else Samples(self._train.inputs, labels)
        parameters = self._parameters if labels is None else self._counterfactual_parameters
        if epochs is not None:
            check_positions(epochs, len(self._checkpoints))
        if labels is not None:
            check_labels(labels, len(self._train), self._network.head.out_features)
        chosen = range(len(self._checkpoints)) if epochs is None else epochs
        for rows in self._row_blocks():
            block = np.zeros((rows.stop - rows.start, len(self._validation)), np.float32)
            for epoch in chosen:
                self._add(self._checkpoints[epoch], train, rows, parameters, block)
            yield rows, block

    def epoch_blocks(self) -> Iterator[tuple[slice, int, np.ndarray]]:
        """Rows, position of the checkpoint and J_t alone; see ``Estimator.epoch_blocks``."""
        for rows in self._row_blocks():
            for epoch, checkpoint in enumerate(self._checkpoints):
                block = np.zeros((rows.stop - rows.start, len(self._validation)), np.float32)
                self._add(checkpoint, self._train, rows, self._parameters, block)
                yield rows, epoch, block

    def self_influence_per_epoch(self) -> np.ndarray:
        """Self influence at each checkpoint alone, (T, n) float64."""
        influence = np.empty((len(self._checkpoints), len(self._train)))
        for epoch, checkpoint in enumerate(self._checkpoints):
            weight = checkpoint.restore(self._network)
            for rows in slices(0, len(self._train), self._batch):
                gradients = self._gradients(self._train, rows, self._parameters)
                influence[epoch, rows] = (
                    weight * torch.linalg.vector_norm(gradients, dim=1).double().numpy() ** 2
                )
        return influence

    def _row_blocks(self) -> Iterator[slice]:
        return slices(0, len(self._train), rows_in(self._memory_mib, 4 * len(self._validation)))

    def _add(
        self,
        checkpoint: Checkpoint,
        train: Samples,
        rows: slice,
        parameters: Sequence[str],
        block: np.ndarray,
    ) -> None:
        """Add the influence at one checkpoint of these rows on all validation samples to ``block``."""
        weight = checkpoint.restore(self._network)
        width = sum(self._network.get_parameter(name).numel() for name in parameters)
        for columns in slices(0, len(self._validation), rows_in(self._memory_mib, 4 * width)):
            validation = torch.cat(
                [
                    self._gradients(self._validation, part, parameters)
                    for part in slices(columns.start, columns.stop, self._batch)
                ]
            )
            for part in slices(rows.start, rows.stop, self._batch):
                gradients = self._gradients(train, part, parameters)
                block[part.start - rows.start : part.stop - rows.start, columns] += (
                    weight * (gradients @ validation.T)
                ).numpy()

    def _gradients(self, samples: Samples, rows: slice, parameters: Sequence[str]) -> Tensor:
        """Gradients of the loss of each sample, (b, P)."""
        state = {name: tensor.detach() for name, tensor in self._network.state_dict(keep_vars=True).items()}
        chosen = {name: state.pop(name) for name in parameters}

        def loss(chosen: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            logits = functional_call(self._network, {**state, **chosen}, (x.unsqueeze(0),))
            return cross_entropy(logits, y.unsqueeze(0))

        inputs, labels = samples.inputs.batch(rows), torch.as_tensor(samples.labels[rows], dtype=torch.int64)
        with _AnyMemoryFormat():
            gradients = vmap(grad(loss), in_dims=(None, 0, 0))(chosen, inputs, labels)
        return torch.cat([gradients[name].flatten(1) for name in parameters], dim=1)


class _AnyMemoryFormat(TorchFunctionMode):
    """Drops requests for a memory format, which ``vmap`` does not support; they change speed, not numbers."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kept = {key: value for key, value in (kwargs or {}).items() if key != "memory_format"}
        return func(*args, **kept)


def parameters_of(network: "Network", layers: Sequence[str], include_bias: bool = True) -> list[str]:
    """Names of the parameters of the modules named by ``layers``, without those called ``bias`` if so asked.

    Raises GlitchtraceError for a module that has no such parameters.
    """
    names = [name for name, _ in network.named_parameters() if include_bias or not name.endswith("bias")]
    for layer in layers:
        if not any(name.startswith(f"{layer}.") for name in names):
            modules = ", ".join(name for name, _ in network.named_children())
            raise GlitchtraceError(
                f"layers: the network has no layer '{layer}' with parameters; it has {modules}"
            )
    return [name for name in names if any(name.startswith(f"{layer}.") for layer in layers)]


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
