"""Cases of the influence engine: a softmax head in closed form, by this package, written down plainly, and by peers.

Each function takes a size and returns the call that performance.py measures; the call returns arrays, which the runner
compares with those of the plain closed form.  What this package or a peer imports is imported before the call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

Results = dict[str, np.ndarray]
Call = Callable[[], Results]
# Rows that peers take at once; the best of 32, 128, 512 and all for the size of the table.
PEER_BATCH = 512
# Rows of the plain closed form at once, where it goes by parts: as many as the other cases have.
PLAIN_ROWS = 4800


@dataclass(frozen=True)
class Size:
    """Training and validation rows, columns, classes, checkpoints; whether the features stay in training."""

    n: int = 4800
    m: int = 1200
    d: int = 64
    K: int = 10
    T: int = 5
    frozen: bool = True


@dataclass(frozen=True)
class Part:
    """Features (rows, d) and probabilities (rows, K) at each checkpoint, one array of features where they stay."""

    features: tuple[np.ndarray, ...]
    probabilities: tuple[np.ndarray, ...]
    labels: np.ndarray

    def rows(self, start: int) -> "Part":
        """Some rows of it."""
        part = slice(start, start + PLAIN_ROWS)
        features, probabilities = (
            tuple(array[part] for array in arrays) for arrays in (self.features, self.probabilities)
        )
        return Part(features, probabilities, self.labels[part])


@dataclass(frozen=True)
class Inputs:
    """A trained head: both parts, its weights (K, d + 1) at each checkpoint, and the learning rates."""

    train: Part
    validation: Part
    heads: list[np.ndarray]
    rates: np.ndarray

    @property
    def classes(self) -> int:
        """K."""
        return len(self.heads[0])


def make_inputs(size: Size) -> Inputs:
    """Random rows around a centre per class, and heads that were never trained."""
    rng = np.random.default_rng(1)
    labels = [rng.integers(0, size.K, rows) for rows in (size.n, size.m)]
    centres = rng.normal(size=(size.K, size.d)).astype(np.float32)
    heads = [rng.normal(size=(size.K, size.d + 1)).astype(np.float32) for _ in range(size.T)]
    parts = []
    for y in labels:
        features: list[np.ndarray] = []
        probabilities = []
        for head in heads:
            if not features or not size.frozen:
                noise = rng.standard_normal(size=(len(y), size.d), dtype=np.float32)
                features.append((centres[y] + noise) / np.float32(np.sqrt(size.d)))
            probabilities.append(_softmax(features[-1] @ head[:, :-1].T + head[:, -1]))
        parts.append(Part(tuple(features), tuple(probabilities), y))
    return Inputs(*parts, heads, np.full(size.T, 0.1))


# --- written down -----------------------------------------------------------------------------------------------------


def plain_matrix(**size: Any) -> Call:
    """The closed form: one line per checkpoint, whole matrices."""
    inputs = make_inputs(Size(**size))
    return lambda: {"matrix": _plain_matrix(inputs)}


def plain_matrix_in_parts(**size: Any) -> Call:
    """The same some rows at a time, none of them kept: for sizes whose matrix takes gigabytes."""
    inputs = make_inputs(Size(**size))

    def call() -> Results:
        for start in range(0, len(inputs.train.labels), PLAIN_ROWS):
            _plain_matrix(Inputs(inputs.train.rows(start), inputs.validation, inputs.heads, inputs.rates))
        return {}

    return call


def plain_self(**size: Any) -> Call:
    """Self influence."""
    inputs = make_inputs(Size(**size))

    def call() -> Results:
        total = np.zeros(len(inputs.train.labels), np.float32)
        for epoch, rate in enumerate(inputs.rates):
            e = _residuals(inputs.train, epoch)
            h = inputs.train.features[epoch % len(inputs.train.features)]
            total += np.float32(rate) * (e**2).sum(axis=1) * ((h**2).sum(axis=1) + 1)
        return {"self": total}

    return call


def plain_tables(**size: Any) -> Call:
    """Class tables of the whole matrix, class by class."""
    inputs = make_inputs(Size(**size))
    return lambda: _named([_plain_tables(inputs, _plain_matrix(inputs))])


def plain_profiles(**size: Any) -> Call:
    """Cumulative, per-epoch and counterfactual class tables, one whole matrix after the other."""
    inputs = make_inputs(Size(**size))

    def call() -> Results:
        epochs = range(len(inputs.rates))
        cumulative = _plain_tables(inputs, _plain_matrix(inputs))
        tables = [
            cumulative,
            *(_plain_tables(inputs, _plain_matrix(inputs, epochs=(epoch,))) for epoch in epochs),
        ]
        for other in (cumulative[1].argmin(axis=1), np.argsort(-cumulative[0], axis=1, kind="stable")[:, 1]):
            tables.append(_plain_tables(inputs, _plain_matrix(inputs, other, epochs[-1:])))
        return _named(tables)

    return call


def _plain_matrix(
    inputs: Inputs, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
) -> np.ndarray:
    train, validation = inputs.train, inputs.validation
    matrix = np.zeros((len(train.labels), len(validation.labels)), np.float32)
    for epoch in range(len(inputs.rates)) if epochs is None else epochs:
        position = epoch % len(train.features)
        gram = train.features[position] @ validation.features[position].T + 1
        e, other = _residuals(train, epoch, labels), _residuals(validation, epoch)
        matrix += np.float32(inputs.rates[epoch]) * (e @ other.T) * gram
    return matrix


def _plain_tables(inputs: Inputs, matrix: np.ndarray) -> tuple[np.ndarray, ...]:
    columns = [matrix[:, inputs.validation.labels == label] for label in range(inputs.classes)]
    return (
        np.stack([np.maximum(part, 0).sum(axis=1) for part in columns], axis=1),
        np.stack([np.minimum(part, 0).sum(axis=1) for part in columns], axis=1),
        np.stack([(part > 0).sum(axis=1) for part in columns], axis=1),
        np.stack([(part < 0).sum(axis=1) for part in columns], axis=1),
    )


# --- this package -----------------------------------------------------------------------------------------------------


def our_matrix(**size: Any) -> Call:
    """The influence matrix."""
    from glitchtrace.influence import closed_form

    factors = _factors(make_inputs(Size(**size)))
    return lambda: {"matrix": closed_form.influence_matrix(factors)}


def our_matrix_without_bias(**size: Any) -> Call:
    """The influence of the weights alone, as captum's fast class has it."""
    from glitchtrace.influence import closed_form

    factors = _factors(make_inputs(Size(**size)))
    return lambda: {"matrix": closed_form.influence_matrix(factors, include_bias=False)}


def our_self(**size: Any) -> Call:
    """Self influence."""
    from glitchtrace.influence import closed_form

    factors = _factors(make_inputs(Size(**size)))
    return lambda: {"self": closed_form.self_influence(factors)}


def our_tables(**size: Any) -> Call:
    """The cumulative class profile, streamed."""
    from glitchtrace.influence import closed_form
    from glitchtrace.influence.profile import ClassReducer

    inputs = make_inputs(Size(**size))
    factors = _factors(inputs)

    def call() -> Results:
        reducer = ClassReducer(factors.validation.labels, np.arange(inputs.classes))
        return _of_profiles([reducer.reduce(closed_form.influence_blocks(factors))])

    return call


def our_profiles_of_the_sum(**size: Any) -> Call:
    """The profiles of a study whose epochs are too many to be kept alone (``MOST_PER_EPOCH``)."""
    return our_profiles(per_epoch=False, **size)


def our_profiles(per_epoch: bool | None = None, **size: Any) -> Call:
    """All profiles of the default settings, streamed: everything that the signals are made of."""
    from glitchtrace.influence import tracin
    from glitchtrace.influence.estimator import EstimatorInputs
    from glitchtrace.influence.profile import build_profiles

    factors = _factors(make_inputs(Size(**size)))

    def call() -> Results:
        estimator = tracin.open_cell(EstimatorInputs(lambda: factors, _no_problem), {})
        found = build_profiles(
            estimator, factors.train.labels, factors.validation.labels, per_epoch=per_epoch
        )
        return _of_profiles(
            [
                found.cumulative,
                *found.per_epoch,
                found.counterfactual_negative,
                found.counterfactual_positive,
            ]
        )

    return call


def our_metagradient(n: int, m: int, d: int, K: int, steps: int, batch: int) -> Call:
    """Everything that the signals are made of, by the metagradient of a head through its recorded training."""
    from glitchtrace.influence import metagradient
    from glitchtrace.influence.profile import build_profiles

    rng = np.random.default_rng(0)
    labels, others = rng.integers(0, K, n), rng.integers(0, K, m)
    centres = rng.normal(size=(K, d))

    def rows(of: np.ndarray) -> np.ndarray:
        noisy = (centres[of] + rng.normal(size=(len(of), d))) / np.sqrt(d)
        return np.column_stack([noisy, np.ones(len(of))]).astype(np.float32)

    batches = [rng.choice(n, batch, replace=False) for _ in range(steps)]
    start, rates = np.zeros((K, d + 1), np.float32), np.full(steps, 0.1, np.float32)
    record = metagradient.record_training(rows(labels), labels, start, batches, rates)
    queries = rows(others)

    def call() -> Results:
        found = build_profiles(metagradient.of_head(record, queries, others), labels, others, per_epoch=False)
        return _of_profiles([found.cumulative])

    return call


# --- peers ------------------------------------------------------------------------------------------------------------


def captum(**size: Any) -> Call:
    """``TracInCP`` of captum on the layer, gradients of a whole batch at once."""
    from captum.influence import TracInCP

    _, common, validation = _for_captum(Size(**size))
    instance = TracInCP(layers=["0"], sample_wise_grads_per_batch=True, **common)
    return lambda: {"matrix": instance.influence(validation).detach().numpy().T}


def captum_fast(**size: Any) -> Call:
    """``TracInCPFast`` of captum, which leaves out the bias."""
    from captum.influence import TracInCPFast

    network, common, validation = _for_captum(Size(**size))
    instance = TracInCPFast(final_fc_layer=network[0], **common)
    return lambda: {"matrix": instance.influence(validation).detach().numpy().T}


def _for_captum(size: Size) -> tuple[Any, dict[str, Any], Any]:
    import torch
    from torch.utils.data import TensorDataset

    inputs = make_inputs(size)
    network = torch.nn.Sequential(torch.nn.Linear(size.d, size.K))

    def restore(network: Any, head: np.ndarray) -> float:
        network.load_state_dict(_state(head))
        return float(inputs.rates[0])

    return (
        network,
        {
            "model": network,
            "train_dataset": TensorDataset(*_tensors(inputs.train)),
            "checkpoints": inputs.heads,
            "checkpoints_load_func": restore,
            "loss_fn": torch.nn.CrossEntropyLoss(reduction="sum"),
            "batch_size": PEER_BATCH,
        },
        _tensors(inputs.validation),
    )


def dattri(**size: Any) -> Call:
    """``TracInAttributor`` of dattri, its projection taken off by hand (by default it projects, and errs)."""
    import torch
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask
    from torch.utils.data import DataLoader, TensorDataset

    inputs = make_inputs(Size(**size))
    network = torch.nn.Sequential(torch.nn.Linear(inputs.heads[0].shape[1] - 1, inputs.classes))

    def loss(parameters: Any, row: Any) -> Any:
        x, y = row
        outputs = torch.func.functional_call(network, parameters, (x.unsqueeze(0),))
        return torch.nn.functional.cross_entropy(outputs, y.unsqueeze(0))

    task = AttributionTask(loss_func=loss, model=network, checkpoints=[_state(head) for head in inputs.heads])
    attributor = TracInAttributor(
        task, torch.tensor(inputs.rates, dtype=torch.float32), normalized_grad=False
    )
    attributor.projector_kwargs = None
    loaders = [
        DataLoader(TensorDataset(*_tensors(part)), PEER_BATCH) for part in (inputs.train, inputs.validation)
    ]
    return lambda: {"matrix": attributor.attribute(*loaders).detach().numpy()}


def pydvl(**size: Any) -> Call:
    """Products of the gradients of single samples that pyDVL makes, summed over the checkpoints."""
    import torch
    from pydvl.influence.torch.functional import create_per_sample_gradient_function

    inputs = make_inputs(Size(**size))
    network = torch.nn.Sequential(torch.nn.Linear(inputs.heads[0].shape[1] - 1, inputs.classes))
    gradients = create_per_sample_gradient_function(network, torch.nn.functional.cross_entropy)
    train, validation = _tensors(inputs.train), _tensors(inputs.validation)

    def flat(state: Any, rows: Any, start: int) -> Any:
        x, y = (part[start : start + PEER_BATCH] for part in rows)
        return torch.cat([part.flatten(1) for part in gradients(state, x, y).values()], dim=1)

    def call() -> Results:
        matrix = torch.zeros(len(train[1]), len(validation[1]))
        for head, rate in zip(inputs.heads, inputs.rates, strict=True):
            state = _state(head)
            for row in range(0, len(train[1]), PEER_BATCH):
                mine = flat(state, train, row)
                for column in range(0, len(validation[1]), PEER_BATCH):
                    block = matrix[row : row + PEER_BATCH, column : column + PEER_BATCH]
                    block += float(rate) * mine @ flat(state, validation, column).T
        return {"matrix": matrix.detach().numpy()}

    return call


def _state(head: np.ndarray) -> dict[str, Any]:
    import torch

    return {
        "0.weight": torch.from_numpy(head[:, :-1].copy()),
        "0.bias": torch.from_numpy(head[:, -1].copy()),
    }


def _tensors(part: Part) -> tuple[Any, Any]:
    """Features that stay, and labels: peers pass them through the network at every checkpoint."""
    import torch

    return torch.from_numpy(part.features[0]), torch.from_numpy(part.labels)


def _factors(inputs: Inputs) -> Any:
    from glitchtrace.influence import factors

    parts = (
        factors.Part(part.features, part.probabilities, part.labels)
        for part in (inputs.train, inputs.validation)
    )
    return factors.Factors(inputs.rates, 128, *parts)


def _of_profiles(profiles: Sequence[Any]) -> Results:
    return _named([tuple(getattr(profile, field.name) for field in fields(profile)) for profile in profiles])


def _named(tables: Sequence[tuple[np.ndarray, ...]]) -> Results:
    names = ("positive", "negative", "positive count", "negative count")
    return {
        f"{index}/{name}": array
        for index, table in enumerate(tables)
        for name, array in zip(names, table, strict=True)
    }


def _residuals(part: Part, epoch: int, labels: np.ndarray | None = None) -> np.ndarray:
    e = part.probabilities[epoch].copy()
    e[np.arange(len(e)), part.labels if labels is None else labels] -= 1
    return e


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return scaled


def _no_problem() -> Any:
    raise AssertionError("the closed form needs no network")
