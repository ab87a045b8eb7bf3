"""What a recorded training minimises, and its derivatives along a direction.

The loss of sample i is its cross entropy (of a network with one output, the binary one) plus
(α/2)·‖θ‖² over all trained parameters.  One forward-over-reverse pass of a batch at θ along u gives all
⟨u, ∇l_i⟩ as the tangent of the vector of losses, and H·u as the tangent of the gradient of their mean: the
price is that of a few training steps, whatever the number of samples.  Memory is O(P) and one batch.
Source: docs/methods/sgd-influence.md#objective.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.autograd.forward_ad as forward_mode
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from glitchtrace.models.convolution import tangents_of_gradients
from glitchtrace.models.network import Network
from glitchtrace.training.sgd import exact_convolutions

Direction = tuple[Tensor, ...]


def losses(outputs: Tensor, labels: Tensor) -> Tensor:
    """Loss (B,) of each sample from logits (B, K) and labels (B,) in 0 … K−1; K = 1 stands for two classes."""
    if outputs.shape[1] == 1:
        return binary_cross_entropy_with_logits(outputs[:, 0], labels.to(outputs.dtype), reduction="none")
    return cross_entropy(outputs, labels, reduction="none")


def probabilities(outputs: Tensor) -> Tensor:
    """Probability (B, K) of each class, or (B, 1) of the second of two, from logits.

    Minus ``indicators`` this is the gradient of each sample's loss by its logits.
    """
    return outputs.sigmoid() if outputs.shape[1] == 1 else outputs.softmax(dim=1)


def indicators(labels: Tensor, outputs: Tensor) -> Tensor:
    """1 where a label is the class of a column of the logits, otherwise 0, in their shape (B, K)."""
    if outputs.shape[1] == 1:
        return labels[:, None].to(outputs.dtype)
    return one_hot(labels, outputs.shape[1]).to(outputs.dtype)


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Share of samples whose label is the most probable class."""
    guess = outputs[:, 0] > 0 if outputs.shape[1] == 1 else outputs.argmax(dim=1)
    return float((guess == labels).double().mean())


class State:
    """A network's trained parameters at one moment, and its buffers, without touching the network.

    ``tensors`` as of ``Network.checkpoint``.  In training mode BatchNorm uses the statistics of the batch;
    the running ones are copied for each call and stay as they are.
    """

    def __init__(self, network: Network, tensors: Mapping[str, Tensor], *, training: bool) -> None:
        self._network = network.train(training)
        self.parameters = {name: tensors[name] for name in network.trained}
        self._buffers = {name: tensors.get(name, buffer) for name, buffer in network.named_buffers()}

    def outputs(self, x: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits (B, K), with other values of the parameters where these are given."""
        buffers = {name: buffer.clone() for name, buffer in self._buffers.items()}
        given = self.parameters if parameters is None else parameters
        logits: Tensor = functional_call(self._network, {**given, **buffers}, (x,))
        return logits

    def directional(self, x: Tensor, y: Tensor, u: Direction) -> Tensor:
        """⟨u, ∇ of the loss of each sample⟩, (B,), without the L2 term: one forward pass."""
        with torch.no_grad(), _dual_numbers():
            return _tangent(losses(self.outputs(x, self._moving(u)), y))

    def curvature(self, x: Tensor, y: Tensor, u: Direction) -> tuple[Tensor, Direction]:
        """``directional`` and H·u, with H the Hessian of the mean loss, from one pass; without the L2 term."""
        with _dual_numbers(), tangents_of_gradients():
            moving = self._moving(u, differentiable=True)
            outputs = self.outputs(x, moving)
            with torch.no_grad():
                guess = probabilities(outputs)
                residual = forward_mode.unpack_dual(guess).primal - indicators(y, outputs)  # type: ignore[no-untyped-call]
                slope = forward_mode.make_dual(residual / len(y), _tangent(guess) / len(y))  # type: ignore[no-untyped-call]
            # Not by way of the loss: torch has no formula for the tangent of its gradient, and its way around
            # imports its compiler, 1.3 CPU seconds and 120 MB for each job.
            gradient = torch.autograd.grad(outputs, list(moving.values()), slope)
            return (residual * _tangent(outputs)).sum(dim=1), tuple(_tangent(part) for part in gradient)

    def gradient(self, x: Tensor, y: Tensor) -> Direction:
        """Gradient of the sum of the losses, without the L2 term."""
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in self.parameters.items()}
        return torch.autograd.grad(losses(self.outputs(x, leaves), y).sum(), list(leaves.values()))

    def _moving(self, u: Direction, *, differentiable: bool = False) -> dict[str, Tensor]:
        return {
            name: forward_mode.make_dual(tensor.detach().requires_grad_(differentiable), part)  # type: ignore[no-untyped-call]
            for (name, tensor), part in zip(self.parameters.items(), u, strict=True)
        }


@contextmanager
def _dual_numbers() -> Iterator[None]:
    with (
        exact_convolutions(),
        warnings.catch_warnings(),
    ):
        # The first dual tensor imports decompositions for which torch still uses its own deprecated compiler.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
        with forward_mode.dual_level():
            yield


def _tangent(dual: Tensor) -> Tensor:
    """The tangent of a dual tensor; zero where it does not depend on the direction."""
    primal, tangent = forward_mode.unpack_dual(dual)  # type: ignore[no-untyped-call]
    return torch.zeros_like(primal).detach() if tangent is None else tangent.detach()


def dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """The inner product of two directions, in float64."""
    return sum(float((a.double() * b.double()).sum()) for a, b in zip(first, second, strict=True))
