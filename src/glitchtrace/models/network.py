"""What the other rooms know of a network: features, a linear head, and which parameters learn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from glitchtrace.core.errors import GlitchtraceError


@dataclass(frozen=True)
class Architecture:
    """A network as a component.

    ``build`` makes it from the shape of a sample, the number of classes and the settings.
    """

    build: "Callable[..., Network]"


class Network(nn.Module):
    """A classifier with ``forward(x) = head(features(x))``.

    Attributes:
        head: last layer, ``nn.Linear`` from d features to K classes; its outputs are the logits.
        trained: names of the parameters that learn; all others require no gradient.
        frozen_features: whether ``features(x)`` in eval mode stays the same while the network is trained.
        freeze_bn_stats: keep the BatchNorm layers without trained parameters in eval mode in training, so
            that their running statistics do not drift.
        smallest_batch: samples that a training step needs at least; more than 1 where BatchNorm would see a
            single value.
        evaluation_rows: samples whose activations stay in the cache of a processor: an evaluation takes no more at
            a time, and its outputs are the same bits; None where the batch makes no difference.
        last_block: name of the module before pooling and head, whose input serves the influence option
            ``counterfactual_features: last_block_input``; None where the network has no such block.
    """

    head: nn.Linear
    trained: tuple[str, ...] = ()
    frozen_features: bool = False
    freeze_bn_stats: bool = False
    smallest_batch: int = 1
    evaluation_rows: int | None = None
    last_block: str | None = None

    def features(self, x: Tensor) -> Tensor:
        """Input of the head, shape (B, d)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (B, K)."""
        return self.logits(self.features(x))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of features; GlitchtraceError where these are not what the head takes."""
        if features.shape[-1:] != (self.head.in_features,):
            raise GlitchtraceError(
                f"{type(self).__name__}: features has the shape {tuple(features.shape)}, its head takes (…, "
                f"{self.head.in_features}); make them fit"
            )
        logits: Tensor = self.head(features)
        return logits

    def train(self, mode: bool = True) -> "Network":
        """Set the mode of all modules but BatchNorm layers that ``freeze_bn_stats`` keeps in eval mode."""
        super().train(mode)
        if mode and self.freeze_bn_stats:
            for module in self.modules():
                if isinstance(module, _BatchNorm) and not module.weight.requires_grad:
                    module.eval()
        return self

    def trunk(self, x: Tensor) -> Tensor:
        """What no training changes but for its order: ``features(x) = tail().features(trunk(x))``.

        In training the statistics of its BatchNorm layers move with the pictures of each batch; labels never reach
        it.  Only a network whose ``tail`` is not None has one.
        """
        raise NotImplementedError

    def tail(self) -> "Network | None":
        """The layers from the first trained one on, shared with this network; None where there are none before it."""
        return None

    def for_evaluation(self) -> "Network":
        """A network of the same outputs to rounding, in eval mode, that may be faster and is not to be trained.

        By default this network itself.
        """
        return self.eval()

    def train_only(self, layers: Sequence[str]) -> None:
        """Let the parameters of the named modules learn, and no others.

        Raises GlitchtraceError for a name that is no module with parameters.
        """
        parameters = dict(self.named_parameters())
        for layer in layers:
            if not any(name.startswith(f"{layer}.") for name in parameters):
                known = ", ".join(name for name, _ in self.named_children())
                raise GlitchtraceError(
                    f"trainable_layers: the network has no layer '{layer}'; known: {known}"
                )
        for name, parameter in parameters.items():
            parameter.requires_grad_(any(name.startswith(f"{layer}.") for layer in layers))
        self.trained = tuple(name for name, parameter in parameters.items() if parameter.requires_grad)

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters named by ``trained``, in that order."""
        return [self.get_parameter(name) for name in self.trained]

    def checkpoint(self) -> dict[str, np.ndarray]:
        """Copies of the trained parameters and of all buffers, by name: what training changes.

        BatchNorm's count of batches is left out: with its constant momentum it has no effect.
        """
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._changing().items()}

    def restore(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set the trained parameters and the buffers to those of a ``checkpoint``.

        Raises GlitchtraceError where names or shapes do not belong to this network.
        """
        changing = self._changing()
        check_tensors(tensors, changing, "checkpoint")
        with torch.no_grad():
            for name, tensor in changing.items():
                tensor.copy_(torch.from_numpy(np.asarray(tensors[name])))

    def _changing(self) -> dict[str, Tensor]:
        parameters: dict[str, Tensor] = {name: self.get_parameter(name) for name in self.trained}
        buffers = {name: b for name, b in self.named_buffers() if not name.endswith("num_batches_tracked")}
        return parameters | buffers


class Head(Network):
    """A linear head alone: ``features`` is the identity, and only the head is trained."""

    frozen_features = True

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head
        self.train_only(["head"])

    def features(self, x: Tensor) -> Tensor:
        """The inputs themselves, shape (B, d)."""
        return x


def check_tensors(
    given: Mapping[str, np.ndarray] | Mapping[str, Tensor], expected: Mapping[str, Tensor], origin: str
) -> None:
    """Raise GlitchtraceError, naming ``origin``, where names or shapes of tensors are not those expected."""
    missing = sorted(expected.keys() - given.keys())
    unexpected = sorted(given.keys() - expected.keys())
    if missing or unexpected:
        parts = [
            f"{kind} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            for kind, names in (("without", missing), ("with unexpected", unexpected))
            if names
        ]
        raise GlitchtraceError(f"{origin}: tensors of another network, {' and '.join(parts)}")
    for name, tensor in expected.items():
        if tuple(given[name].shape) != tuple(tensor.shape):
            raise GlitchtraceError(
                f"{origin}: tensor {name} has shape {tuple(given[name].shape)}, "
                f"the network needs {tuple(tensor.shape)}"
            )


def glorot(module: nn.Module, seed: int) -> None:
    """Set kernels to uniform values in ±√(6 / (fan in + fan out)) and biases to zero, drawn right after seeding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
