"""Metagradient: influence through every step of a recorded training; of a softmax head, all queries in one walk.

A training by SGD with momentum μ and weight decay λ,

    v_{t+1} = μ v_t + g_t,   θ_{t+1} = θ_t − η_t v_{t+1},   g_t = (1/|B_t|) Σ_{i ∈ B_t} w_i ∇ℓ_i(θ_t) + λ θ_t,

is differentiated with respect to the weight w_i of each sample: J_ij = −dL_j(θ_T)/dw_i at w = 1, exact to first
order.  With a = dL/dθ and c = dL/dv, walked from the last step to the first,

    c_t = μ c_{t+1} − η_t a_{t+1},   J_ij += −(1/|B_t|) ∇ℓ_i(θ_t) · c_t,   a_t = a_{t+1} + (H_t + λ) c_t,

where H_t is the Hessian of the batch loss.  For a softmax head with inputs h̃ = [h; 1] and c a (K, d + 1) matrix per
query, s_ij = c_j h̃_i gives everything: ∇ℓ_i · c_j = (p_i − onehot(y_i)) · s_ij, the same for every other label of i,
and H c = (1/|B|) Σ_i ((diag p_i − p_i p_iᵀ) s_ij) ⊗ h̃_i.  Each step is two matrix products for all queries.  Networks
with more trained layers are walked by ``metagradient_networks``.

Source: docs/methods/metagradient.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.estimator import Estimator, EstimatorInputs, OneCheckpoint, complete_settings
from glitchtrace.influence.factors import check_labels

KIND = "estimator"
CARD = {
    "summary": "Influence through every step of the training, of a softmax head or a small network.",
    "shares": "blocks",
    "defaults": {"memory_mib": 256},
    "without": {
        "epochs": "the metagradient is that of the whole training",
        "divide_by_batch_size": "the metagradient is that of the whole training",
    },
    "settings": {
        "most_minutes": {
            "description": "Estimated minutes above which a network is refused.",
            "default": 120,
            "type": "number",
            "exclusiveMinimum": 0,
        },
    },
}
MEMORY_MIB = 256.0
# Largest difference of the walked training from its checkpoints, relative to the largest weight: rounding only.
AGREEMENT = 1e-3


@dataclass(frozen=True)
class RecordedHead:
    """A recorded training of a softmax head on fixed inputs.

    ``inputs`` (n, D): features, with a last column of ones where the head has a bias; ``labels`` (n,) in 0 … K−1;
    ``states``: the head's weights (K, D) before each of the T steps, then those after the last; ``batches``: the rows
    of each step; ``rates`` (T,): η_t; ``momentum`` μ and ``decay`` λ.  Raises GlitchtraceError where these do not fit.
    """

    inputs: np.ndarray
    labels: np.ndarray
    states: Sequence[np.ndarray]
    batches: Sequence[np.ndarray]
    rates: np.ndarray
    momentum: float = 0.0
    decay: float = 0.0

    def __post_init__(self) -> None:
        steps = len(self.batches)
        if not steps or len(self.states) != steps + 1 or len(self.rates) != steps:
            raise GlitchtraceError(
                f"a recorded training of {steps} steps has {len(self.states)} states and {len(self.rates)} rates; "
                f"expected at least one step, {steps + 1} states and {steps} rates"
            )
        if self.inputs.ndim != 2 or self.states[0].shape[1:] != self.inputs.shape[1:]:
            raise GlitchtraceError(
                f"inputs of shape {self.inputs.shape} do not fit a head of shape {self.states[0].shape}"
            )
        check_labels(self.labels, len(self.inputs), self.classes)
        check_batches(self.batches, len(self.inputs))
        if not 0 <= self.momentum < 1 or self.decay < 0:
            raise GlitchtraceError(
                f"momentum {self.momentum:g} must be in [0, 1) and decay {self.decay:g} must not be negative"
            )

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return int(self.states[0].shape[0])


@dataclass(frozen=True)
class Walked:
    """What one walk tells of n samples and a block of queries.

    ``mean`` (n, b): Σ_t η-weighted p_i · s_ij; ``sums`` (n, b, K): the same sums of s_ij itself.  The influence of
    sample i under label c on query j is ``mean[i, j] − sums[i, j, c]``.
    """

    mean: np.ndarray
    sums: np.ndarray

    def under(self, labels: np.ndarray) -> np.ndarray:
        """J (n, b) with the given labels (n,) of the training samples."""
        chosen = np.take_along_axis(self.sums, labels[:, None, None], axis=2)[:, :, 0]
        return np.asarray(self.mean - chosen)


def influence_matrix(
    record: RecordedHead, queries: np.ndarray, query_labels: np.ndarray, *, memory_mib: float = MEMORY_MIB
) -> np.ndarray:
    """The influence J, (n, m), of every training sample on the loss of every query: positive where it lowers it.

    ``queries`` (m, D) as ``record.inputs``, ``query_labels`` (m,).  Queries are walked in blocks of ``memory_mib`` MiB.
    """
    matrix = np.empty((len(record.inputs), len(queries)), record.inputs.dtype)
    for columns, walked in walk(record, queries, query_labels, memory_mib=memory_mib):
        matrix[:, columns] = walked.under(record.labels)
    return matrix


def walk(
    record: RecordedHead, queries: np.ndarray, query_labels: np.ndarray, *, memory_mib: float = MEMORY_MIB
) -> Iterator[tuple[slice, Walked]]:
    """Walk the training backwards for all queries, in blocks of them that fit into ``memory_mib`` MiB."""
    if queries.ndim != 2 or queries.shape[1] != record.inputs.shape[1]:
        raise GlitchtraceError(
            f"queries of shape {queries.shape} do not fit inputs of {record.inputs.shape[1]} columns"
        )
    check_labels(query_labels, len(queries), record.classes, "query_labels")
    classes, dtype = record.classes, record.inputs.dtype
    for columns in slices_of_queries(record, len(queries), memory_mib):
        chosen, labels = queries[columns], query_labels[columns]
        residual = probabilities(chosen, record.states[-1]) - np.eye(classes, dtype=dtype)[labels]
        # a = ∂L_j/∂θ_T, as (D, block, K): the products of a step have the queries and classes side by side.
        adjoint = np.ascontiguousarray(chosen.T[:, :, None] * residual[None], dtype=dtype)
        yield columns, _walk_block(record, adjoint)


def walk_basis(record: RecordedHead, *, memory_mib: float = MEMORY_MIB) -> Iterator[tuple[slice, Walked]]:
    """Walk the training backwards for a basis of all losses of the last weights, in place of queries.

    The walk is linear in a = ∂L/∂θ_T, and the columns of a of every query sum to 0 over the classes: (K − 1)·D vectors,
    E_kd − E_Kd, span them, k first.  Their walk serves any number of queries: see ``basis_coordinates``.
    """
    classes, width = record.classes, record.inputs.shape[1]
    for columns in slices_of_queries(record, basis_size(record), memory_mib):
        numbers = np.arange(columns.start, columns.stop)
        adjoint = np.zeros((width, len(numbers), classes), record.inputs.dtype)
        adjoint[numbers % width, np.arange(len(numbers)), numbers // width] = 1
        adjoint[numbers % width, np.arange(len(numbers)), classes - 1] = -1
        yield columns, _walk_block(record, adjoint)


def basis_size(record: RecordedHead) -> int:
    """(K − 1)·D, the number of walks that serve all queries."""
    return (record.classes - 1) * int(record.inputs.shape[1])


def basis_coordinates(record: RecordedHead, queries: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """∂L_j/∂θ_T of some queries in the basis of ``walk_basis``, (m, (K − 1)·D)."""
    residual = probabilities(queries, record.states[-1])
    residual -= np.eye(record.classes, dtype=residual.dtype)[labels]
    found: np.ndarray = (residual[:, :-1, None] * queries[:, None, :]).reshape(len(queries), -1)
    return found


def slices_of_queries(record: RecordedHead, columns: int, memory_mib: float) -> Iterator[slice]:
    """Blocks of queries whose walk fits into ``memory_mib`` MiB."""
    samples, width = record.inputs.shape
    # Sums and mean of all samples, adjoints a and c, and the products of one batch.
    largest = max(len(rows) for rows in record.batches)
    bytes_each = record.inputs.itemsize * record.classes * (samples * 1.2 + 3 * width + 4 * largest)
    size = max(1, int(memory_mib * 2**20 / bytes_each))
    for start in range(0, columns, size):
        yield slice(start, min(start + size, columns))


def _walk_block(record: RecordedHead, adjoint: np.ndarray) -> Walked:
    """The walk from some a at the end of the training, (D, block, K), which it changes."""
    samples, (width, block, classes), dtype = len(record.inputs), adjoint.shape, record.inputs.dtype
    velocity = np.zeros_like(adjoint) if record.momentum else None
    mean = np.zeros((samples, block), dtype)
    sums = np.zeros((samples, block, classes), dtype)
    for step in range(len(record.batches) - 1, -1, -1):
        rows, rate = record.batches[step], dtype.type(record.rates[step])
        inputs = record.inputs[rows]
        share = dtype.type(1 / len(rows))
        if velocity is None:
            direction, scale = adjoint, -rate
        else:
            velocity *= dtype.type(record.momentum)
            velocity -= rate * adjoint
            direction, scale = velocity, dtype.type(1)
        guess = probabilities(inputs, record.states[step])[:, None, :]
        response = (inputs @ direction.reshape(width, -1)).reshape(len(rows), block, classes)
        response *= scale * share
        inner = np.vecdot(response, guess)
        _subtract(mean, rows, inner)
        _subtract(sums, rows, response)
        response -= inner[:, :, None]
        response *= guess
        change = (inputs.T @ response.reshape(len(rows), -1)).reshape(adjoint.shape)
        if record.decay:
            change += dtype.type(record.decay) * scale * direction
        adjoint += change
    return Walked(mean, sums)


def _subtract(total: np.ndarray, rows: np.ndarray, part: np.ndarray) -> None:
    """``total[rows] -= part``, where a row that comes twice counts twice."""
    if len(np.unique(rows)) == len(rows):
        total[rows] -= part
    else:
        np.subtract.at(total, rows, part)


def probabilities(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Softmax of the head: inputs (b, D) and weights (K, D) give (b, K)."""
    logits: np.ndarray = inputs @ weights.T
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def record_training(
    inputs: np.ndarray,
    labels: np.ndarray,
    initial: np.ndarray,
    batches: Sequence[np.ndarray],
    rates: np.ndarray,
    *,
    momentum: float = 0.0,
    decay: float = 0.0,
    weights: np.ndarray | None = None,
) -> RecordedHead:
    """Train a softmax head by SGD from ``initial`` (K, D) and record every step.

    ``weights`` (n,): the weight w_i of each sample's loss, 1 by default; 0 leaves it out (the batch keeps its divisor).
    Raises GlitchtraceError where these do not fit, and where the training diverges.
    """
    if inputs.ndim != 2 or initial.ndim != 2 or initial.shape[1] != inputs.shape[1]:
        raise GlitchtraceError(f"inputs of shape {inputs.shape} do not fit a head of shape {initial.shape}")
    check_labels(labels, len(inputs), len(initial))
    if len(rates) != len(batches):
        raise GlitchtraceError(f"{len(rates)} rates for {len(batches)} batches; give one per batch")
    check_batches(batches, len(inputs))
    check_weights(weights, len(inputs))
    factors = np.ones(len(labels), inputs.dtype) if weights is None else weights.astype(inputs.dtype)
    targets = np.eye(len(initial), dtype=inputs.dtype)[labels]
    states = [initial.astype(inputs.dtype)]
    velocity = np.zeros_like(states[0])
    for step, rows in enumerate(batches):
        residual = (probabilities(inputs[rows], states[-1]) - targets[rows]) * factors[rows, None]
        gradient = residual.T @ inputs[rows] / len(rows) + decay * states[-1]
        velocity = momentum * velocity + gradient if momentum else gradient
        states.append(states[-1] - rates[step] * velocity)
        if not np.isfinite(states[-1]).all():
            raise GlitchtraceError(
                f"training diverged in step {step + 1} at learning rate {rates[step]:g}; lower the learning rate"
            )
    return RecordedHead(inputs, labels, states, batches, np.asarray(rates), momentum, decay)


# --- the estimator of a cell -----------------------------------------------------------------------------------------


def open_cell(cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
    """The estimator of one cell, whose training is repeated step by step and compared with its checkpoints.

    Raises GlitchtraceError where a step of the training depends on more than the parameters (dropout, BatchNorm), and
    where the repeated training is another one.
    """
    complete = complete_settings("metagradient", settings)
    factors, memory = cell.factors, complete["memory_mib"]
    if cell.training is None:
        raise GlitchtraceError("metagradient needs the settings and the seed of the training; give both")
    query_labels = factors.validation.labels
    if not cell.head_alone:
        from glitchtrace.influence import metagradient_networks as networks

        training = networks.repeated(cell)

        def of_network(validation: bool) -> Iterator[tuple[slice, Walked]]:
            queries, labels = (
                (cell.problem.validation, query_labels)
                if validation
                else (cell.problem.train, training.labels)
            )
            what = "validation samples" if validation else "training samples, for self influence,"
            networks.check_cost(training, len(labels), what, complete["most_minutes"])
            return networks.walk(training, queries, labels, memory_mib=memory)

        return Metagradient(of_network, training.labels, query_labels, training.classes, memory_mib=memory)
    record = repeated_head(cell)
    queries = validation_inputs(cell, record)
    return of_head(record, queries, query_labels, memory_mib=memory)


def of_head(
    record: RecordedHead, queries: np.ndarray, query_labels: np.ndarray, *, memory_mib: float = MEMORY_MIB
) -> "Metagradient":
    """The estimator of a recorded head: a walk of its queries, or of a basis where that is less."""

    def walked(validation: bool) -> Iterator[tuple[slice, Walked]]:
        asked = (queries, query_labels) if validation else (record.inputs, record.labels)
        return walk(record, *asked, memory_mib=memory_mib)

    size = basis_size(record)
    held = record.inputs.itemsize * len(record.inputs) * size * (record.classes + 1)
    basis = Basis(
        lambda: walk_basis(record, memory_mib=memory_mib),
        lambda: basis_coordinates(record, queries, query_labels),
        lambda: basis_coordinates(record, record.inputs, record.labels),
        of_queries=size <= len(queries) and held <= memory_mib * 2**20,
        of_selves=size <= len(record.inputs),
    )
    return Metagradient(
        walked, record.labels, query_labels, record.classes, memory_mib=memory_mib, basis=basis
    )


@dataclass(frozen=True)
class Basis:
    """The walk of a basis in place of queries, and the queries in it: fewer walks where these are many.

    ``of_queries``, ``of_selves``: whether it is less than a walk of the validation samples, of the training samples.
    """

    walk: Callable[[], Iterator[tuple[slice, Walked]]]
    queries: Callable[[], np.ndarray]
    selves: Callable[[], np.ndarray]
    of_queries: bool
    of_selves: bool


class Metagradient(OneCheckpoint):
    """Influence through a training; it has no checkpoints, so that all of it counts as one.

    ``walked``: the walk with the validation samples as queries, or (False) with the training samples; ``labels`` (n,);
    ``basis``: of a head, the walk that may stand in for both.
    """

    def __init__(
        self,
        walked: Callable[[bool], Iterator[tuple[slice, Walked]]],
        labels: np.ndarray,
        query_labels: np.ndarray,
        classes: int,
        *,
        memory_mib: float,
        basis: Basis | None = None,
    ) -> None:
        self._walked, self._labels, self._basis = walked, labels, basis
        self._queries, self._classes, self._memory_mib = len(query_labels), classes, memory_mib
        self._kept: list[tuple[slice, Walked]] | None = None

    def blocks(
        self, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """All rows and J, (n, m), in one block; see ``Estimator.blocks``."""
        chosen = self._labels if labels is None else labels
        check_labels(chosen, len(self._labels), self._classes)
        matrix = np.zeros((len(chosen), self._queries), np.float32)
        if self._basis and self._basis.of_queries:
            coordinates = self._basis.queries()
            for columns, walked in self._walk():
                matrix += walked.under(chosen) @ coordinates[:, columns].T
        else:
            for columns, walked in self._walk():
                matrix[:, columns] = walked.under(chosen)
        yield slice(0, len(chosen)), matrix

    def self_influence_per_epoch(self) -> np.ndarray:
        """Influence of each training sample on its own loss, (1, n) float64: a walk with all of them as queries."""
        selves = np.zeros(len(self._labels))
        if self._basis and self._basis.of_selves:
            coordinates = self._basis.selves()
            for columns, walked in self._walk() if self._basis.of_queries else self._basis.walk():
                selves += np.vecdot(walked.under(self._labels), coordinates[:, columns])
            return selves[None]
        for columns, walked in self._walked(False):
            selves[columns] = np.diagonal(walked.under(self._labels)[columns])
        return selves[None]

    def _walk(self) -> Iterator[tuple[slice, Walked]]:
        """The walk over queries or basis, kept where it fits into the memory: other labels then cost nothing."""
        if self._kept is not None:
            yield from self._kept
            return
        of_basis = self._basis is not None and self._basis.of_queries
        entries = len(self._labels) * self._queries * (self._classes + 1)
        # A basis that stands in for queries is no larger than they are, and fits.
        fits = of_basis or 4 * entries <= self._memory_mib * 2**20
        kept: list[tuple[slice, Walked]] = []
        for part in self._basis.walk() if self._basis and of_basis else self._walked(True):
            if fits:
                kept.append(part)
            yield part
        if fits:
            self._kept = kept


def repeated_steps(cell: EstimatorInputs, smallest_batch: int = 1) -> list[np.ndarray]:
    """The rows of each step of the training of a cell."""
    from glitchtrace.training.sgd import steps

    assert cell.training is not None
    factors = cell.factors
    return steps(
        cell.training["seed"], len(factors.train), factors.epochs, factors.batch_size, smallest_batch
    )


def repeated_head(cell: EstimatorInputs) -> RecordedHead:
    """The training of the head of a cell, step by step."""
    factors, problem = cell.factors, cell.problem
    network = problem.network
    names = [name for name in network.trained if name.endswith(("weight", "bias"))]
    tensors = {name.rpartition(".")[2]: network.checkpoint()[name] for name in names}
    if set(tensors) - {"weight", "bias"} or len(tensors) != len(list(network.trained)):
        raise GlitchtraceError("metagradient walks through the training of one linear head; choose tracin")
    biased = "bias" in tensors
    initial = np.column_stack([tensors["weight"], tensors["bias"]]) if biased else tensors["weight"]
    features = factors.train.features[0]
    inputs = np.column_stack([features, np.ones(len(features), features.dtype)]) if biased else features
    steps = repeated_steps(cell)
    rates = np.repeat(factors.learning_rates, len(steps) // factors.epochs)
    record = record_training(inputs, factors.train.labels, initial, steps, rates)
    last = {name.rpartition(".")[2]: problem.checkpoints[-1][name] for name in names}
    expected = np.column_stack([last["weight"], last["bias"]]) if biased else last["weight"]
    if np.abs(record.states[-1] - expected).max() > AGREEMENT * np.abs(expected).max():
        raise GlitchtraceError(
            "the training, repeated step by step, does not end at its last checkpoint; train the cell again"
        )
    return record


def validation_inputs(cell: EstimatorInputs, record: RecordedHead) -> np.ndarray:
    """The validation samples as the inputs of the recorded head: with a column of ones where it has a bias."""
    features = cell.factors.validation.features[0]
    missing = record.inputs.shape[1] - features.shape[1]
    ones = np.ones((len(features), missing), features.dtype)
    return np.column_stack([features, ones]) if missing else features


def check_batches(batches: Sequence[np.ndarray], count: int) -> None:
    """Raise GlitchtraceError unless every batch names one or more of ``count`` samples."""
    for step, rows in enumerate(batches):
        if np.ndim(rows) != 1 or not len(rows) or np.asarray(rows).dtype.kind not in "iu":
            raise GlitchtraceError(
                f"batches[{step}] names no sample; give the rows of the step, at least one"
            )
    rows = np.concatenate(batches) if len(batches) else np.zeros(1, int)
    if rows.min() < 0 or rows.max() >= count:
        step = next(step for step, rows in enumerate(batches) if np.min(rows) < 0 or np.max(rows) >= count)
        raise GlitchtraceError(
            f"batches[{step}] names the rows {np.min(batches[step])} to {np.max(batches[step])} of {count} samples; "
            f"give rows from 0 to {count - 1}"
        )


def check_weights(weights: np.ndarray | None, count: int) -> None:
    """Raise GlitchtraceError unless weights of samples are one for each, or None."""
    if weights is not None and np.shape(weights) != (count,):
        raise GlitchtraceError(f"weights of shape {np.shape(weights)} for {count} samples; give one for each")
