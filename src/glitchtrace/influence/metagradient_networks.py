"""Metagradient of a small network: the walk of ``metagradient`` with every layer trained, forward over reverse.

A step of the walk needs, for each query, the product of the batch's Hessian with its direction c and the tangent s of
the logits of the batch along c.  One forward-over-reverse pass gives both for a block of queries at once.  Credits are
those of a head: with p the probabilities, ⟨∇ℓ_i, c⟩ = (p_i − onehot(y_i)) · s_ij, and the same for every other label
of i.  The states between two checkpoints are trained again when the walk comes to them, so that one epoch of them is
held and no more.

Networks whose training draws (dropout) or keeps statistics (BatchNorm) are refused: their loss at a step is not a
function of the parameters alone.  Source: docs/methods/metagradient.md#small-networks.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, vjp, vmap
from torch.nn.functional import cross_entropy, one_hot
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.estimator import EstimatorInputs
from glitchtrace.influence.factors import check_labels
from glitchtrace.influence.metagradient import (
    AGREEMENT,
    MEMORY_MIB,
    Walked,
    check_batches,
    check_weights,
    repeated_steps,
)
from glitchtrace.models.network import Network
from glitchtrace.training.sgd import Samples

Parameters = tuple[Tensor, ...]

# Measured on one thread: operations in a second (9 to 80 thousand million: small networks the fewest), seconds that a
# step takes whatever its size; minutes from which on a job says what it will take.
_FLOPS, _STEP, _WORTH_SAYING = 2e10, 0.006, 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedNetwork:
    """A recorded training of a network by SGD.

    ``samples`` with ``labels`` (n,) in 0 … K−1; ``batches``: the rows of each of the T steps; ``rates`` (T,): η_t;
    ``momentum`` μ and ``decay`` λ.  ``marks``: step → parameters before it, of the first step at least, and ``last``
    those after all steps; ``velocities``: the same of the velocity, where there is momentum.  Raises GlitchtraceError
    where these do not fit, and for a network that cannot be walked.
    """

    network: Network
    samples: Samples
    labels: np.ndarray
    batches: Sequence[np.ndarray]
    rates: np.ndarray
    marks: Mapping[int, Parameters]
    last: Parameters
    momentum: float = 0.0
    decay: float = 0.0
    velocities: Mapping[int, Parameters] | None = None

    def __post_init__(self) -> None:
        check_network(self.network)
        if not self.batches or len(self.rates) != len(self.batches) or 0 not in self.marks:
            raise GlitchtraceError(
                f"a recorded training of {len(self.batches)} steps has {len(self.rates)} rates; expected at least one "
                "step, a rate for each, and the parameters before the first"
            )
        check_labels(self.labels, len(self.labels), self.classes)
        check_batches(self.batches, len(self.labels))
        if self.momentum and self.velocities is None:
            raise GlitchtraceError("a training with momentum is walked with its velocities; record it again")

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return self.network.head.out_features

    def states(self, start: int, end: int) -> list[Parameters]:
        """The parameters before the steps ``start`` … ``end`` − 1, from the mark at ``start``.

        Raises GlitchtraceError where these steps do not lead to what stands after them.
        """
        velocity = self.velocities[start] if self.velocities is not None else None
        states, reached, _ = _steps(self, self.marks[start], velocity, range(start, end))
        expected = self.marks.get(end, self.last)
        for found, other in zip(reached, expected, strict=True):
            if (found - other).abs().max() > AGREEMENT * other.abs().max():
                raise GlitchtraceError(
                    "the training, repeated step by step, does not reach its checkpoints; train the cell again"
                )
        return states


def check_network(network: Network) -> None:
    """Raise GlitchtraceError for a network whose training draws or keeps statistics."""
    for name, module in network.named_modules():
        kind = type(module).__name__
        if (isinstance(module, _DropoutNd) and module.p) or isinstance(module, _BatchNorm):
            raise GlitchtraceError(
                f"metagradient does not cover {kind} (layer '{name}'): a step must follow from the parameters alone; "
                "choose the model mlp or small_cnn, or the estimator tracin"
            )


def record_training(
    network: Network,
    samples: Samples,
    labels: np.ndarray,
    batches: Sequence[np.ndarray],
    rates: np.ndarray,
    *,
    momentum: float = 0.0,
    decay: float = 0.0,
    weights: np.ndarray | None = None,
    every: int = 100,
) -> RecordedNetwork:
    """Train a network by SGD from the parameters that it has, which stay as they are, and mark each ``every`` steps.

    ``weights`` (n,): the weight w_i of each sample's loss, 1 by default; 0 leaves it out (the batch keeps its divisor).
    Raises GlitchtraceError where these do not fit, and where the training diverges.
    """
    check_weights(weights, len(labels))
    start = tuple(parameter.detach().clone() for parameter in network.trained_parameters())
    still = tuple(torch.zeros_like(part) for part in start)
    marks, velocities = {0: start}, {0: still}
    plan = RecordedNetwork(
        network, samples, labels, batches, rates, marks, start, momentum, decay, velocities
    )
    state, velocity = start, still
    for step in range(0, len(batches), every):
        marks[step], velocities[step] = state, velocity
        part = range(step, min(step + every, len(batches)))
        _, state, velocity = _steps(plan, state, velocity, part, weights, keep=False)
        if not all(bool(tensor.isfinite().all()) for tensor in state):
            raise GlitchtraceError(
                f"training diverged before step {part.stop} at learning rate {rates[part.stop - 1]:g}; "
                "lower the learning rate"
            )
    return RecordedNetwork(
        network, samples, labels, batches, rates, marks, state, momentum, decay, velocities
    )


def _steps(
    record: RecordedNetwork,
    state: Parameters,
    velocity: Parameters | None,
    steps: range,
    weights: np.ndarray | None = None,
    *,
    keep: bool = True,
) -> tuple[list[Parameters], Parameters, Parameters]:
    """The states before some steps, and state and velocity after them; see ``training.sgd.train``."""
    network = record.network.train()
    targets = torch.from_numpy(record.labels.astype(np.int64))
    states = []
    moved = tuple(torch.zeros_like(part) for part in state) if velocity is None else velocity
    for step in steps:
        if keep:
            states.append(state)
        rows = record.batches[step]
        leaves = tuple(part.detach().requires_grad_() for part in state)
        outputs = _logits(network, leaves, record.samples.batch(rows).to(state[0].dtype))
        if weights is None:
            loss = cross_entropy(outputs, targets[rows])
        else:
            each = cross_entropy(outputs, targets[rows], reduction="none")
            loss = (torch.from_numpy(weights[rows]).to(each.dtype) * each).mean()
        gradient = torch.autograd.grad(loss, leaves)
        if record.decay:
            gradient = tuple(g.add(p, alpha=record.decay) for g, p in zip(gradient, state, strict=True))
        if record.momentum:
            moved = tuple(g.add(v, alpha=record.momentum) for g, v in zip(gradient, moved, strict=True))
            gradient = moved
        rate = float(record.rates[step])
        state = tuple(p.sub(g, alpha=rate) for p, g in zip(state, gradient, strict=True))
    return states, state, moved


def influence_matrix(
    record: RecordedNetwork, queries: Samples, query_labels: np.ndarray, *, memory_mib: float = MEMORY_MIB
) -> np.ndarray:
    """The influence J, (n, m), of every training sample on the loss of every query: positive where it lowers it."""
    parts = [
        walked.under(record.labels)
        for _, walked in walk(record, queries, query_labels, memory_mib=memory_mib)
    ]
    return np.concatenate(parts, axis=1)


def walk(
    record: RecordedNetwork, queries: Samples, query_labels: np.ndarray, *, memory_mib: float = MEMORY_MIB
) -> Iterator[tuple[slice, Walked]]:
    """Walk the training backwards for all queries, in blocks of them that fit into ``memory_mib`` MiB."""
    parameters = sum(part.numel() for part in record.last)
    largest = max(len(rows) for rows in record.batches)
    # What a pass along one direction holds of a sample is about five times the values in the network.
    held = 5 * largest * _values(record)
    entries = 4 * parameters + 1.2 * len(record.labels) * (record.classes + 1) + held
    size = max(1, int(memory_mib * 2**20 / (record.last[0].element_size() * entries)))
    for start in range(0, len(query_labels), size):
        columns = slice(start, min(start + size, len(query_labels)))
        with warnings.catch_warnings():
            # The first dual tensor imports decompositions for which torch still uses its own deprecated compiler.
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
            yield columns, _walk_block(record, queries.batch(columns), query_labels[columns])


def walk_minutes(record: RecordedNetwork, queries: int) -> float:
    """Minutes of one thread that a walk of so many queries takes, to a factor of about four; see docs/methods.

    A step costs six forward passes of its batch for each query, and something of its own.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        _logits(record.network, record.last, record.samples.batch(np.arange(1)).to(record.last[0].dtype))
    passed = sum(len(rows) for rows in record.batches)
    seconds = 6 * counter.get_total_flops() * passed * queries / _FLOPS + _STEP * len(record.batches)
    return seconds / 60


def check_cost(record: RecordedNetwork, queries: int, what: str, most: float) -> None:
    """Log what a walk will cost where it takes minutes; raise GlitchtraceError where more than ``most`` of them."""
    minutes = walk_minutes(record, queries)
    text = f"the metagradient of this network with {queries} {what} takes about {_duration(minutes)} of one thread"
    if minutes > most:
        raise GlitchtraceError(
            f"{text}, more than estimators.metagradient.most_minutes ({most:g}); raise it, take fewer samples or "
            "epochs, a model whose head alone is trained, or the estimator tracin"
        )
    if minutes > _WORTH_SAYING:
        _log.warning("%s", text)


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"


def _values(record: RecordedNetwork) -> int:
    """Numbers of a sample that a pass through the network keeps: its inputs and what layers hand on."""
    x = record.samples.batch(np.arange(1)).to(record.last[0].dtype)
    leaves = tuple(part.detach().requires_grad_() for part in record.last)
    kept = {part.data_ptr(): 0 for part in leaves} | {x.data_ptr(): x.numel()}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.data_ptr(), tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = _logits(record.network, leaves, x)
    return sum(kept.values()) + outputs.numel()


def _walk_block(record: RecordedNetwork, queries: Tensor, query_labels: np.ndarray) -> Walked:
    network, dtype = record.network.train(), record.last[0].dtype

    def loss(parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
        logits = _logits(network, parameters, x[None])[0]
        return logits.logsumexp(0) - (logits * y).sum()

    targets = one_hot(torch.from_numpy(query_labels.astype(np.int64)), record.classes).to(dtype)
    adjoint = list(vmap(grad(loss), (None, 0, 0))(record.last, queries.to(dtype), targets))
    velocity = [torch.zeros_like(part) for part in adjoint] if record.momentum else None
    samples, block = len(record.labels), len(query_labels)
    mean = np.zeros((samples, block), record.last[0].numpy().dtype)
    sums = np.zeros((samples, block, record.classes), mean.dtype)
    marks = sorted(record.marks)
    for start, end in zip(reversed(marks), reversed([*marks[1:], len(record.batches)]), strict=True):
        states = record.states(start, end)
        for step in range(end - 1, start - 1, -1):
            rows, rate = record.batches[step], float(record.rates[step])
            x = record.samples.batch(rows).to(dtype)
            y = one_hot(torch.from_numpy(record.labels[rows].astype(np.int64)), record.classes).to(dtype)
            if velocity is None:
                direction, scale = adjoint, -rate
            else:
                for part, pulled in zip(velocity, adjoint, strict=True):
                    part.mul_(record.momentum).sub_(pulled, alpha=rate)
                direction, scale = velocity, 1.0
            guess, response, product = _curvature(network, states.pop(), x, y, direction)
            response *= scale / len(rows)
            # A row that comes twice counts twice.
            np.subtract.at(mean, rows, torch.einsum("jik,ik->ij", response, guess).numpy())
            np.subtract.at(sums, rows, response.transpose(0, 1).numpy())
            # The decay goes first: without momentum the direction is the adjoint itself.
            for part, pull, moved in zip(adjoint, direction, product, strict=True):
                if record.decay:
                    part.add_(pull, alpha=record.decay * scale)
                part.add_(moved, alpha=scale)
    return Walked(mean, sums)


def _curvature(
    network: Network, state: Parameters, x: Tensor, y: Tensor, directions: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Parameters]:
    """Probabilities (b, K), tangents of the logits (m, b, K) and products with the Hessian along m directions."""

    def gradient(parameters: Parameters) -> tuple[Parameters, Tensor]:
        pair: Any = vjp(lambda given: _logits(network, given, x), parameters)
        outputs, pull = pair
        return pull((outputs.softmax(1) - y) / len(x))[0], outputs

    def along(direction: Parameters) -> tuple[Parameters, Tensor]:
        tangents: Any = jvp(gradient, (state,), (direction,))[1]
        product, response = tangents
        return product, response

    with torch.no_grad():
        guess = _logits(network, state, x).softmax(1)
        found: Any = vmap(along)(tuple(directions))
    product, response = found
    return guess, response, product


def _logits(network: Network, parameters: Parameters, x: Tensor) -> Tensor:
    named = dict(zip(network.trained, parameters, strict=True))
    outputs: Tensor = functional_call(network, named, (x,))
    return outputs


def repeated(cell: EstimatorInputs) -> RecordedNetwork:
    """The training of a cell, marked at its checkpoints; see ``training.sgd.train``, which it repeats."""
    problem, factors = cell.problem, cell.factors
    network = problem.network
    check_network(network)
    steps = repeated_steps(cell, network.smallest_batch)
    per_epoch = len(steps) // factors.epochs
    states: list[Mapping[str, Any]] = [network.checkpoint(), *problem.checkpoints]
    marks = {
        epoch * per_epoch: tuple(torch.from_numpy(np.array(state[name])) for name in network.trained)
        for epoch, state in enumerate(states)
    }
    last = marks.pop(len(steps))
    rates = np.repeat(factors.learning_rates, per_epoch)
    return RecordedNetwork(network, problem.train, factors.train.labels, steps, rates, marks, last)
