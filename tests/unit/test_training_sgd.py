import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.models.dense import build_linear, build_mlp
from glitchtrace.training.sgd import batches, out_of_memory, train

CPU = torch.device("cpu")


class Table:
    """Samples from an array, with a record of the rows asked for."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values.astype(np.float32)
        self.asked: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, rows):
        self.asked.append(np.asarray(rows))
        return torch.from_numpy(self.values[rows])


def problem(n: int = 23, d: int = 5, classes: int = 3, seed: int = 0) -> tuple[Table, np.ndarray]:
    random = np.random.default_rng(seed)
    return Table(random.normal(size=(n, d))), random.integers(0, classes, n)


def head(d: int = 5, classes: int = 3):
    return build_linear((d,), classes, {"head_seed": 42})


def run(network, samples, labels, **options):
    chosen = {"learning_rate": 0.3, "batch_size": 8, "epochs": 2, "seed": 0, "device": CPU, **options}
    train(network, samples, labels, **chosen)


def descend(network, x: np.ndarray, y: np.ndarray, rate: float, size: int, epochs: int, seed: int):
    """Oracle: the same descent for a linear softmax classifier, in float64 numpy."""
    weight = network.head.weight.detach().numpy().astype(np.float64)
    bias = network.head.bias.detach().numpy().astype(np.float64)
    order = generator(seed, "loader")
    states = []
    for _ in range(epochs):
        rows = order.permutation(len(x))
        while len(rows):
            batch, rows = rows[:size], rows[size:]
            logits = x[batch] @ weight.T + bias
            e = np.exp(logits - logits.max(axis=1, keepdims=True))
            e /= e.sum(axis=1, keepdims=True)
            e[np.arange(len(batch)), y[batch]] -= 1
            weight = weight - rate * e.T @ x[batch] / len(batch)
            bias = bias - rate * e.mean(axis=0)
        states.append((weight, bias))
    return states


@settings(deadline=None, derandomize=True, max_examples=20)
@given(
    n=st.integers(1, 30),
    size=st.integers(1, 40),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 5),
    rate=st.floats(0.01, 1),
)
def test_a_linear_model_follows_the_formula_step_by_step(n, size, epochs, seed, rate):
    samples, labels = problem(n, seed=seed)
    network = head()
    expected = descend(network, samples.values.astype(np.float64), labels, rate, size, epochs, seed)
    found = []
    run(
        network,
        samples,
        labels,
        learning_rate=rate,
        batch_size=size,
        epochs=epochs,
        seed=seed,
        on_epoch=lambda _: found.append(network.checkpoint()),
    )
    for (weight, bias), checkpoint in zip(expected, found, strict=True):
        np.testing.assert_allclose(checkpoint["head.weight"], weight, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(checkpoint["head.bias"], bias, rtol=2e-5, atol=2e-5)


def test_each_epoch_sees_each_sample_once_in_a_new_order_and_keeps_the_partial_batch():
    samples, labels = problem()
    run(head(), samples, labels)
    assert [len(rows) for rows in samples.asked] == [8, 8, 7, 8, 8, 7]
    first, second = np.concatenate(samples.asked[:3]), np.concatenate(samples.asked[3:])
    assert sorted(first) == sorted(second) == list(range(23))
    assert first.tolist() != second.tolist()


def test_the_order_depends_on_the_seed_and_not_on_the_epochs():
    orders = {}
    for seed, epochs in ((0, 1), (0, 3), (1, 1)):
        samples, labels = problem()
        run(head(), samples, labels, seed=seed, epochs=epochs)
        orders[seed, epochs] = np.concatenate(samples.asked[:3]).tolist()
    assert orders[0, 1] == orders[0, 3] != orders[1, 1]


def test_the_global_generators_play_no_part():
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        samples, labels = problem()
        network = head()
        run(network, samples, labels)
        results.append(network.checkpoint())
    np.testing.assert_array_equal(results[0]["head.weight"], results[1]["head.weight"])


def test_only_trained_parameters_change():
    samples, labels = problem()
    network = build_mlp((5,), 3, {"hidden": [6, 4], "head_seed": 42})
    network.train_only(["hidden.1", "head"])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    run(network, samples, labels)
    changed = {name for name, t in network.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == set(network.trained)


def test_training_is_that_of_torch_without_its_compiler():
    """The same bytes as torch.optim.SGD, which would import the compiler."""
    samples, labels = problem()
    network, other = (build_mlp((5,), 3, {"hidden": [6, 4], "head_seed": 42}) for _ in range(2))
    run(network, samples, labels)
    optimiser = torch.optim.SGD(other.parameters(), 0.3)
    for rows in list(samples.asked):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(other(samples.batch(rows)), torch.from_numpy(labels[rows]))
        loss.backward()
        optimiser.step()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_the_module_is_in_training_mode_and_epochs_are_numbered_from_one():
    samples, labels = problem()
    network, seen = head(), []

    def on_epoch(epoch: int) -> None:
        seen.append((epoch, network.training))
        network.eval()

    run(network, samples, labels, epochs=3, on_epoch=on_epoch)
    assert seen == [(1, True), (2, True), (3, True)]


def test_progress_goes_to_standard_error(capsys):
    samples, labels = problem()
    run(head(), samples, labels, epochs=4)
    streams = capsys.readouterr()
    assert not streams.out
    assert "4/4" in streams.err
    assert "loss=" in streams.err


def test_a_diverged_training_names_epoch_rate_and_key():
    samples, labels = problem()
    samples.values *= 1e20
    with pytest.raises(GlitchtraceError) as caught:
        run(head(), samples, labels, learning_rate=1e30)
    message = str(caught.value)
    assert message.startswith("training diverged in epoch 1 at learning rate 1e+30")
    assert "learning_rate of the model" in message
    assert "\n" not in message


def test_divergence_in_the_last_step_is_not_missed():
    """The loss of the single step is finite, the parameters after it are not."""
    samples, labels = problem(n=4)
    samples.values[:] = 1e10
    epochs = []
    with pytest.raises(GlitchtraceError, match="epoch 1"):
        run(head(), samples, labels, learning_rate=3e38, epochs=1, on_epoch=epochs.append)
    assert not epochs


class Exhausted(Table):
    def batch(self, rows):
        return torch.empty(2**58)


def test_exhausted_memory_names_the_key_and_a_value():
    samples, labels = problem()
    with pytest.raises(GlitchtraceError, match="out of memory with batch_size: 8; try batch_size: 4"):
        run(head(), Exhausted(samples.values), labels)


def test_other_errors_keep_their_traceback():
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory("batch_size", 8):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError()])
def test_both_errors_of_exhausted_memory_are_known(error):
    with (
        pytest.raises(GlitchtraceError, match="try evaluation_batch: 1"),
        out_of_memory("evaluation_batch", 1),
    ):
        raise error


def test_batches_cover_the_rows_in_order():
    parts = list(batches(np.arange(10), 4))
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


SCRIPT = """
import hashlib, sys
import numpy as np, torch
torch.set_num_threads(1)
from glitchtrace.data.preprocess import PictureInputs
from glitchtrace.models import resnet20
from glitchtrace.training.sgd import train
settings = {key: fragment["default"] for key, fragment in resnet20.CARD["settings"].items()}
random = np.random.default_rng(0)
pictures = PictureInputs(random.integers(0, 256, (40, 12, 12), dtype=np.uint8))
network = resnet20.build(pictures.shape, 3, {**settings, "weights": "random"})
train(network, pictures, random.integers(0, 3, 40), learning_rate=0.1, batch_size=16, epochs=2, seed=0,
      device=torch.device("cpu"))
digest = hashlib.sha256()
for name, tensor in sorted(network.checkpoint().items()):
    digest.update(name.encode() + tensor.tobytes())
assert "torch._dynamo" not in sys.modules, "each training job would pay for importing torch's compiler"
print(digest.hexdigest())
"""


def test_the_same_seed_gives_the_same_bytes_in_two_processes():
    command = [sys.executable, "-c", SCRIPT]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert len(first.strip()) == 64
    assert first == second
