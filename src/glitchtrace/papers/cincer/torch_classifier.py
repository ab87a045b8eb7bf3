"""Any network of the house in the loop, trained and differentiated by PyTorch.

Gradients of the last layer are factored as in a dense network; gradients of all layers are explicit vectors, by
vectorised per-sample differentiation in blocks.
"""

import copy
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.network import Network
from glitchtrace.papers.cincer.cells import LARGEST_GRADIENT_BYTES
from glitchtrace.papers.cincer.gradients import ExplicitGradients, FactoredGradients, Gradients, Layer
from glitchtrace.papers.cincer.settings import TrainingSettings

_GRADIENT_BATCH = 16


class Passes(Protocol):
    """Forward and backward passes of a network, which may keep samples in a form of their own for training."""

    def logits(self, pictures: Tensor) -> Tensor:
        """Outputs (n, C) without dropout and without a graph."""
        ...

    def prepare(self, pictures: Tensor) -> Tensor:
        """Samples (n, …) in the form that ``backward`` takes, still one row per sample."""
        ...

    def backward(self, prepared: Tensor, targets: Tensor) -> None:
        """Set the gradients of the trained parameters to those of the mean cross-entropy, in training mode."""
        ...


class AutogradPasses:
    """Passes of any network by automatic differentiation."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def logits(self, pictures: Tensor) -> Tensor:
        """See ``Passes``."""
        self.network.eval()
        with torch.no_grad():
            found: Tensor = self.network(pictures)
        return found

    def prepare(self, pictures: Tensor) -> Tensor:
        """The samples as they are."""
        return pictures

    def backward(self, prepared: Tensor, targets: Tensor) -> None:
        """See ``Passes``."""
        self.network.train()
        self.network.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.network(prepared), targets)
        loss.backward()  # type: ignore[no-untyped-call]


class TorchClassifier:
    """A network whose ``head`` is the top layer; inputs are pictures (n, H, W[, C]) or vectors (n, d).

    Args:
        network: with its initial values.
        classes: C.
        training: see ``TrainingSettings``.
        dtype: float32 or float64.
        prediction_batch: samples per forward pass of ``probabilities``.
        device: where the network runs.
        passes: makes the passes of the network for training and prediction.
    """

    def __init__(
        self,
        network: Network,
        *,
        classes: int,
        training: TrainingSettings,
        dtype: Any = np.float32,
        prediction_batch: int = 1024,
        device: torch.device | None = None,
        passes: Callable[[Network], Passes] = AutogradPasses,
    ) -> None:
        self.classes = classes
        self.training = training
        self.dtype = torch.float64 if np.dtype(dtype) == np.float64 else torch.float32
        self.device = device or torch.device("cpu")
        self.network = network.to(device=self.device, dtype=self.dtype)
        self.prediction_batch = prediction_batch
        self._passes = passes(self.network)
        self._initial = copy.deepcopy(self.network.state_dict())
        self._optimiser: torch.optim.Optimizer | None = None

    def fit(self, inputs: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
        """Train on ``inputs`` (n, …) with ``labels`` (n,), see ``TrainingSettings``.

        ``rng`` shuffles the samples and seeds the dropout of this fit.  Raises GlitchtraceError where weights or
        outputs stop being finite; then weights and optimiser are as before.
        """
        settings, before = self.training, self.snapshot()
        if not settings.warm:
            self.network.load_state_dict(self._initial)
        if not settings.warm or self._optimiser is None:
            self._optimiser = torch.optim.Adam(
                self.network.trained_parameters(),
                lr=settings.learning_rate,
                betas=(settings.beta1, settings.beta2),
                eps=settings.epsilon,
                fused=True,
            )
        data = self._passes.prepare(self._tensor(inputs))
        targets = torch.as_tensor(np.asarray(labels, np.int64), device=self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**31)))
            for epoch in range(1, settings.epochs + 1):
                order = torch.as_tensor(rng.permutation(len(data)), device=self.device)
                for rows in torch.split(order, settings.batch_size):
                    self._passes.backward(data.index_select(0, rows), targets[rows])
                    self._optimiser.step()
                if settings.ends_after(epoch, self, before, inputs, labels, finite=self._finite()):
                    break

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """p(c|x), float64 (n, C), without dropout."""
        logits = [
            self._passes.logits(self._tensor(part)).double()
            for part in np.split(inputs, range(self.prediction_batch, len(inputs), self.prediction_batch))
        ]
        found: np.ndarray = torch.cat(logits).softmax(dim=1).cpu().numpy()
        return found

    def gradients(
        self, inputs: np.ndarray, rows: np.ndarray, labels: np.ndarray, *, top: bool = False
    ) -> Gradients:
        """∇ log p(y|x) of pairs (``inputs[rows[m]]``, ``labels[m]``); ``top``: of the last dense layer alone.

        Raises GlitchtraceError where explicit gradients would need too much memory.
        """
        self.network.eval()
        data = self._tensor(inputs)
        if top:
            with torch.no_grad():
                features = self.network.features(data)
                probabilities = self.network.head(features).double().softmax(dim=1).cpu().numpy()
            augmented = np.ones((len(inputs), features.shape[1] + 1))
            augmented[:, :-1] = features.cpu().numpy()
            return FactoredGradients(
                [Layer(augmented, np.eye(self.classes)[labels] - probabilities[rows])], rows
            )
        names = self.network.trained
        sizes = [self.network.get_parameter(name).numel() for name in names]
        width = 8 if self.dtype == torch.float64 else 4
        if len(rows) * sum(sizes) * width > LARGEST_GRADIENT_BYTES:
            raise GlitchtraceError(
                f"negotiator: {len(rows)} gradients of {sum(sizes)} parameters need "
                f"{len(rows) * sum(sizes) * width / 1e9:.1f} GB; take top_fisher, practical_fisher, or a smaller sample"
            )
        parameters = {name: self.network.get_parameter(name).detach() for name in names}

        def log_probability(values: dict[str, Tensor], sample: Tensor, label: Tensor) -> Tensor:
            logits = functional_call(self.network, values, (sample[None],))
            found: Tensor = logits.log_softmax(dim=1)[0].gather(0, label[None])[0]
            return found

        each = vmap(grad(log_probability), in_dims=(None, 0, 0))
        chosen = torch.as_tensor(rows, device=self.device)
        targets = torch.as_tensor(np.asarray(labels, np.int64), device=self.device)
        blocks = []
        for start in range(0, len(rows), _GRADIENT_BATCH):
            part = slice(start, start + _GRADIENT_BATCH)
            found = each(parameters, data[chosen[part]], targets[part])
            blocks.append(torch.cat([found[name].flatten(1) for name in names], dim=1).cpu().numpy())
        return ExplicitGradients(np.concatenate(blocks) if blocks else np.empty((0, sum(sizes))), sizes)

    def hessian_product(self, inputs: np.ndarray, labels: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """The Hessian of the mean of −log p(y|x), times a flat vector (P,), by differentiating twice."""
        self.network.eval()
        parameters = self.network.trained_parameters()
        targets = torch.as_tensor(np.asarray(labels, np.int64), device=self.device)
        loss = torch.nn.functional.cross_entropy(self.network(self._tensor(inputs)), targets)
        first = torch.autograd.grad(loss, parameters, create_graph=True)
        direction = torch.as_tensor(vector, dtype=self.dtype, device=self.device)
        pieces = torch.split(direction, [parameter.numel() for parameter in parameters])
        inner = sum(
            (part.flatten() @ piece for part, piece in zip(first, pieces, strict=True)), torch.zeros(())
        )
        second = torch.autograd.grad(inner, parameters)
        return torch.cat([part.flatten() for part in second]).double().cpu().numpy()

    def snapshot(self) -> dict[str, Any]:
        """What ``restore`` needs."""
        return {
            "network": copy.deepcopy(self.network.state_dict()),
            "optimiser": self._optimiser and copy.deepcopy(self._optimiser.state_dict()),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Come back to the state of a snapshot."""
        self.network.load_state_dict(snapshot["network"])
        if snapshot["optimiser"] is None:
            self._optimiser = None
        elif self._optimiser is not None:
            self._optimiser.load_state_dict(snapshot["optimiser"])

    def _finite(self) -> bool:
        """Whether all trained weights are; their extremes are not where one of them is not."""
        extremes = [
            torch.stack(parameter.detach().aminmax()) for parameter in self.network.trained_parameters()
        ]
        return bool(torch.cat(extremes).isfinite().all())

    def _tensor(self, inputs: np.ndarray) -> Tensor:
        """Samples as the network takes them: pictures (n, C, H, W) in channels_last, vectors as they are."""
        tensor = torch.as_tensor(np.ascontiguousarray(inputs), dtype=self.dtype, device=self.device)
        if tensor.ndim == 3:
            tensor = tensor[:, None]
        elif tensor.ndim == 4:
            tensor = tensor.permute(0, 3, 1, 2)
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor
