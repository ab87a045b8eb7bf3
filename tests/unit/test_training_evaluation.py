import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.glitches.kinds import Kind
from glitchtrace.models.dense import build_mlp
from glitchtrace.models.network import Head
from glitchtrace.training.evaluation import Outputs, by_kind, evaluate

CPU = torch.device("cpu")


class Table:
    def __init__(self, values: np.ndarray) -> None:
        self.values = values.astype(np.float32)

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, rows):
        return torch.from_numpy(self.values[rows])


def network(seed: int = 42):
    return build_mlp((5,), 4, {"hidden": [6], "head_seed": seed})


def outputs(n: int = 17, batch_size: int = 4, seed: int = 0) -> Outputs:
    values = np.random.default_rng(seed).normal(size=(n, 5))
    return evaluate(network(), Table(values), batch_size=batch_size, device=CPU)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(n=st.integers(1, 20), size=st.integers(1, 25))
def test_outputs_are_the_formulas_whatever_the_batch(n, size):
    values = np.random.default_rng(n).normal(size=(n, 5))
    model = network()
    found = evaluate(model, Table(values), batch_size=size, device=CPU)
    x = values.astype(np.float64)
    for layer in model.hidden:
        x = np.maximum(
            x @ layer.weight.detach().numpy().T.astype(np.float64) + layer.bias.detach().numpy(), 0
        )
    logits = x @ model.head.weight.detach().numpy().T + model.head.bias.detach().numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.features, x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.probabilities, p, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.log_probabilities, np.log(p), rtol=1e-5, atol=1e-6)
    for array in (found.features, found.probabilities, found.log_probabilities):
        assert array.dtype == np.float32


def test_evaluation_is_in_eval_mode_and_needs_no_gradient():
    model = network()
    model.hidden.append(torch.nn.Dropout(0.9))
    model.train()
    values = Table(np.random.default_rng(0).normal(size=(6, 5)))
    first = evaluate(model, values, batch_size=3, device=CPU)
    second = evaluate(model, values, batch_size=3, device=CPU)
    np.testing.assert_array_equal(first.features, second.features)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_accuracy_and_loss_are_their_definitions():
    found = outputs()
    labels = np.random.default_rng(1).integers(0, 4, 17)
    right = [int(np.argmax(p)) == label for p, label in zip(found.probabilities, labels, strict=True)]
    losses = [-np.log(p[label]) for p, label in zip(found.probabilities, labels, strict=True)]
    assert found.accuracy(labels) == pytest.approx(np.mean(right))
    assert found.loss(labels) == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.loss(labels) == pytest.approx(
        torch.nn.functional.cross_entropy(
            torch.from_numpy(found.log_probabilities), torch.from_numpy(labels)
        ).item(),
        rel=1e-5,
    )


def test_the_loss_is_finite_where_a_probability_is_zero():
    head = torch.nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        head.bias.zero_()
    found = evaluate(Head(head), Table(np.array([[500.0]])), batch_size=1, device=CPU)
    assert found.probabilities[0, 1] == 0
    assert found.loss(np.array([1])) == pytest.approx(1000)


def test_ties_count_for_the_lowest_class():
    flat = np.full((3, 2), np.log(0.5), dtype=np.float32)
    found = Outputs(np.zeros((3, 1), np.float32), np.exp(flat), flat)
    assert found.accuracy(np.array([0, 0, 1])) == pytest.approx(2 / 3)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(kinds=st.lists(st.sampled_from([int(kind) for kind in Kind]), min_size=17, max_size=17))
def test_kinds_are_told_apart_as_by_brute_force(kinds):
    found, labels = outputs(), np.random.default_rng(2).integers(0, 4, 17)
    rows = {
        name: (count, accuracy, loss)
        for name, count, accuracy, loss in by_kind(found, labels, np.array(kinds))
    }
    expected = {"all": list(range(17))}
    for kind in Kind:
        members = [i for i, value in enumerate(kinds) if value == kind]
        if members:
            expected[kind.label] = members
    assert rows.keys() == expected.keys()
    assert next(iter(rows)) == "all"
    for name, members in expected.items():
        count, accuracy, loss = rows[name]
        assert count == len(members)
        assert accuracy == pytest.approx(
            np.mean([found.probabilities[i].argmax() == labels[i] for i in members])
        )
        assert loss == pytest.approx(
            -np.mean([found.log_probabilities[i, labels[i]] for i in members]), rel=1e-5
        )


def test_without_kinds_all_samples_are_one_row():
    found, labels = outputs(), np.zeros(17, dtype=np.int64)
    assert [row[:2] for row in by_kind(found, labels)] == [("all", 17)]


class Exhausted(Table):
    def batch(self, rows):
        return torch.empty(2**58)


def test_exhausted_memory_names_the_key():
    with pytest.raises(GlitchtraceError, match="evaluation_batch: 4; try evaluation_batch: 2"):
        evaluate(network(), Exhausted(np.zeros((3, 5))), batch_size=4, device=CPU)
