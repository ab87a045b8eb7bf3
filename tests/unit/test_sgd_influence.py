"""The recorded training, its replay and the backward walk: identities, oracles, faults."""

import numpy as np
import pytest
import torch
from torch import nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence import sgd_influence as influences
from glitchtrace.influence.estimator import Checkpoint
from glitchtrace.influence.per_sample import PerSampleInfluence
from glitchtrace.influence.per_sample import Samples as Rows
from glitchtrace.influence.sgd_influence import sgd_influence, tensors, validation_gradient
from glitchtrace.influence.solvers import Operator, conjugate_gradients, lissa
from glitchtrace.models.convnets import build_six_conv_cnn, build_small_cnn
from glitchtrace.models.dense import build_mlp
from glitchtrace.models.network import Network
from glitchtrace.training.augmentation import Augmentation
from glitchtrace.training.recorded.objective import State, dot, losses
from glitchtrace.training.recorded.recording import (
    first_snapshot,
    layout_of,
    make_plan,
    record,
    replay,
    require_space,
    snapshot_bytes,
)
from glitchtrace.training.recorded.trace import Snapshots, open_snapshots, read_trace, write_trace

SAMPLES = 30


class Data:
    """Random samples in the precision of a network."""

    def __init__(self, shape: tuple[int, ...], classes: int, count: int = SAMPLES, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.y = torch.from_numpy(rng.integers(0, classes, count))
        self.x = torch.from_numpy(rng.normal(size=(count, *shape)))

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, rows, seeds=None):
        return self.x[rows] if seeds is None else (self.x[rows], self.y[rows])


class Recorded:
    """A recorded training with snapshots in memory, in float64."""

    def __init__(self, network: Network, shape: tuple[int, ...], classes: int, **plan) -> None:
        self.network = network.double()
        self.train, self.validation = Data(shape, classes), Data(shape, classes, 20, seed=1)
        settings = {"epochs": 3, "batch_size": 8, "learning_rate": 0.1, "order_seed": 3, **plan}
        self.plan = make_plan(SAMPLES, **settings)
        self.keep = np.empty((self.plan.steps, layout_of(network).width))
        self.trace = record(network, self.train, self.plan, keep=self.keep)
        self.snapshots = Snapshots(self.trace, self.keep)
        self.u = validation_gradient(
            network, self.trace.final, self.trace, self.validation, self.validation.y.numpy(), 7
        )

    def walk(self, **options) -> np.ndarray:
        return sgd_influence(
            self.network,
            self.train,
            self.trace,
            options.pop("u", self.u),
            snapshots=self.snapshots,
            **options,
        )


def tabular(**plan) -> Recorded:
    return Recorded(build_mlp((4,), 3, {"hidden": [5], "head_seed": 0}), (4,), 3, **plan)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return tabular(l2=0.01)


@pytest.fixture(scope="module")
def normed() -> Recorded:
    return Recorded(build_six_conv_cnn((1, 8, 8), 3, {"head_seed": 0}), (1, 8, 8), 3, epochs=2)


# --- plan, record, replay ----------------------------------------------------------------------------------------


def test_even_batches_differ_by_one_and_slices_leave_a_rest() -> None:
    even = make_plan(83, epochs=1, batch_size=10, learning_rate=1.0)
    assert sorted((even.batches >= 0).sum(axis=1)) == [9] * 7 + [10] * 2
    sliced = make_plan(83, epochs=1, batch_size=10, learning_rate=1.0, split="slice")
    assert [len(sliced.step(step)[0]) for step in range(sliced.steps)] == [10] * 8 + [3]
    for plan in (even, sliced):
        assert sorted(np.concatenate([plan.step(step)[0] for step in range(plan.steps)])) == [*range(83)]
        assert np.concatenate([plan.step(step)[1] for step in range(plan.steps)]).tolist() == [*range(83)]


def test_the_published_order_is_that_of_scikit_learns_splitters_and_the_default_is_not() -> None:
    from sklearn.model_selection import train_test_split

    marked, _ = train_test_split(np.arange(100), train_size=10, random_state=2)
    published = make_plan(100, epochs=3, batch_size=10, learning_rate=1.0)
    own = make_plan(100, epochs=3, batch_size=10, learning_rate=1.0, order_seed=2)

    def together(plan) -> int:
        return max(len(set(plan.step(step)[0]) & set(marked)) for step in range(plan.steps))

    assert together(published) == 10
    assert together(own) < 6


def test_a_replay_without_removals_repeats_the_training_bit_by_bit(
    recorded: Recorded, normed: Recorded
) -> None:
    for case in (recorded, normed):
        for first_epoch in range(case.trace.epochs):
            replay(case.network, case.train, case.trace, first_epoch=first_epoch)
            found = case.trace.layout.flatten(case.network.checkpoint())
            np.testing.assert_array_equal(found, case.trace.final)


def test_a_snapshot_and_the_update_of_its_step_give_the_next_snapshot(recorded: Recorded) -> None:
    trace, network = recorded.trace, recorded.network
    for step in (0, 5, trace.steps - 2):
        state = State(network, tensors(recorded.snapshots[step], trace, network), training=True)
        rows, _ = trace.step(step)
        gradient = state.gradient(*recorded.train.batch(rows, rows))
        theta = list(state.parameters.values())
        moved = [
            t - trace.rates[step] * (g / len(rows) + trace.l2 * t)
            for t, g in zip(theta, gradient, strict=True)
        ]
        flat = np.concatenate([part.numpy().ravel() for part in moved])
        np.testing.assert_allclose(flat, recorded.snapshots[step + 1], rtol=1e-12, atol=1e-14)


def test_a_removed_sample_keeps_the_divisor_and_an_empty_batch_is_passed_over() -> None:
    case = tabular(epochs=1)
    removed = np.zeros(SAMPLES, dtype=bool)
    removed[case.trace.step(0)[0]] = True
    replay(case.network, case.train, case.trace, removed)
    expected = build_mlp((4,), 3, {"hidden": [5], "head_seed": 0}).double()
    for step in range(1, case.trace.steps):
        rows, _ = case.trace.step(step)
        parameters = expected.trained_parameters()
        gradient = torch.autograd.grad(
            losses(expected(case.train.x[rows]), case.train.y[rows]).mean(), parameters
        )
        with torch.no_grad():
            for parameter, part in zip(parameters, gradient, strict=True):
                parameter -= 0.1 * part
    for name, tensor in expected.checkpoint().items():
        np.testing.assert_allclose(case.network.checkpoint()[name], tensor, rtol=1e-12)
    removed[:] = False
    removed[case.trace.step(0)[0][:-1]] = True
    replay(case.network, case.train, case.trace, removed)
    assert np.isfinite(case.trace.layout.flatten(case.network.checkpoint())).all()


# --- walk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["recorded", "normed"])
def test_credits_of_a_batch_sum_to_the_inner_product_with_its_gradient(name: str, request) -> None:
    case = request.getfixturevalue(name)
    found: dict[int, tuple[float, float]] = {}

    def check(step: int, u: tuple[torch.Tensor, ...], credit: np.ndarray) -> None:
        state = State(case.network, tensors(case.snapshots[step], case.trace, case.network), training=True)
        rows, seeds = case.trace.step(step)
        gradient = state.gradient(*case.train.batch(rows, seeds))
        penalty = case.trace.l2 * dot(u, list(state.parameters.values()))
        found[step] = (credit.sum(), case.trace.rates[step] * (dot(u, gradient) / len(rows) + penalty))

    case.walk(on_step=check)
    assert len(found) == case.trace.steps
    for mine, expected in found.values():
        assert mine == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_influence_is_the_dense_product_of_matrices(recorded: Recorded) -> None:
    """The textbook sum with explicit Hessians, on a network of 48 parameters."""
    trace, network, layout = recorded.trace, recorded.network, recorded.trace.layout
    flat = torch.cat([part.ravel() for part in recorded.u])
    expected = np.zeros(SAMPLES)
    for step in reversed(range(trace.steps)):
        theta = torch.from_numpy(recorded.keep[step].copy())
        rows, _ = trace.step(step)

        def loss(vector: torch.Tensor, chosen: np.ndarray) -> torch.Tensor:
            pieces, start = {}, 0
            for name, shape in layout.shapes.items():
                size = int(np.prod(shape))
                pieces[name], start = vector[start : start + size].reshape(shape), start + size
            outputs = torch.func.functional_call(network, pieces, (recorded.train.x[chosen],))
            return losses(outputs, recorded.train.y[chosen]).mean() + trace.l2 / 2 * (vector**2).sum()

        for row in rows:
            slope = torch.autograd.functional.jacobian(lambda v, r=row: loss(v, np.array([r])), theta)
            expected[row] += trace.rates[step] / len(rows) * float(flat @ slope)
        hessian = torch.autograd.functional.hessian(lambda v, r=rows: loss(v, r), theta)
        flat = flat - trace.rates[step] * hessian @ flat
    np.testing.assert_allclose(recorded.walk()[:, 0], expected, rtol=1e-9, atol=1e-14)


def test_the_product_with_the_hessian_holds_with_batch_norm(normed: Recorded) -> None:
    """Against differences of gradients; statistics of the batch carry derivatives of their own."""
    state = State(normed.network, tensors(normed.snapshots[0], normed.trace, normed.network), training=True)
    rows, seeds = normed.trace.step(0)
    x, y = normed.train.batch(rows, seeds)
    before = {name: buffer.clone() for name, buffer in normed.network.named_buffers()}
    _, product = state.curvature(x, y, normed.u)
    gradients = []
    for sign in (1, -1):
        moved = {
            name: tensor + sign * 1e-6 * part
            for (name, tensor), part in zip(state.parameters.items(), normed.u, strict=True)
        }
        gradients.append(State(normed.network, moved, training=True).gradient(x, y))
    for mine, high, low in zip(product, *gradients, strict=True):
        difference = (high - low) / (2e-6 * len(rows))
        assert float((mine - difference).abs().max()) < 1e-5 * float(product[0].abs().max() + 1)
    for name, buffer in normed.network.named_buffers():
        assert torch.equal(buffer, before[name]), "running statistics stay as they are"


def test_influence_is_linear_in_u_and_scopes_are_cumulative(recorded: Recorded) -> None:
    whole = recorded.walk()
    np.testing.assert_allclose(recorded.walk(u=tuple(2 * part for part in recorded.u)), 2 * whole, rtol=1e-12)
    assert whole.shape == (SAMPLES, 3)
    for first in (1, 2):
        np.testing.assert_array_equal(recorded.walk(first_epoch=first), whole[:, first:])


def test_final_parameters_equal_the_trace_where_nothing_moves() -> None:
    case = tabular(learning_rate=1e-12)
    exact = case.walk()
    final = sgd_influence(case.network, case.train, case.trace, case.u)
    np.testing.assert_allclose(final, exact, rtol=1e-9, atol=1e-30)
    assert case.trace.last_movement < 1e-9


@pytest.mark.parametrize("bn", ["eval", "single"])
def test_options_of_batch_norm_change_numbers_only_where_there_is_one(
    bn: str, recorded: Recorded, normed: Recorded
) -> None:
    np.testing.assert_allclose(recorded.walk(bn=bn), recorded.walk(), rtol=1e-9)
    assert not np.allclose(normed.walk(bn=bn), normed.walk(), rtol=1e-2)


def test_tracin_is_the_sum_of_gradient_products_after_each_epoch() -> None:
    case = tabular(decay=True)
    trace, labels = case.trace, case.train.y.numpy()
    found = influences.tracin(
        case.network, trace, case.train, labels, case.validation, case.validation.y.numpy(), 7
    )

    def gradient(data: Data, rows: slice) -> np.ndarray:
        case.network.zero_grad()
        torch.nn.functional.cross_entropy(case.network(data.x[rows]), data.y[rows]).backward()
        return np.concatenate([part.grad.numpy().ravel() for part in case.network.parameters()])

    expected = np.zeros(SAMPLES)
    for epoch, state in enumerate(trace.epoch_states):
        case.network.restore(trace.layout.split(state))
        u = gradient(case.validation, slice(None))
        rate = trace.rates[epoch * trace.steps_per_epoch : (epoch + 1) * trace.steps_per_epoch].mean()
        expected += [rate / 8 * u @ gradient(case.train, slice(i, i + 1)) for i in range(SAMPLES)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


def test_tracin_of_a_recorded_training_is_the_mean_of_the_estimator_of_all_layers() -> None:
    case = tabular(decay=True)
    trace, labels, others = case.trace, case.train.y.numpy(), case.validation.y.numpy()
    rates = trace.rates.reshape(trace.epochs, -1).mean(axis=1) / trace.batches.shape[1]
    checkpoints = [
        Checkpoint(trace.layout.split(state), rate)
        for state, rate in zip(trace.epoch_states, rates, strict=True)
    ]
    layers = [name for name, child in case.network.named_children() if list(child.parameters())]
    estimator = PerSampleInfluence(
        case.network, checkpoints, Rows(case.train, labels), Rows(case.validation, others), layers=layers
    )
    (whole,) = [block for _, block in estimator.blocks()]
    found = influences.tracin(case.network, trace, case.train, labels, case.validation, others, 7)
    np.testing.assert_allclose(found, whole.mean(axis=1), rtol=1e-4, atol=1e-9)


# --- Koh and Liang ------------------------------------------------------------------------------------------------


def test_solvers_agree_on_a_convex_problem() -> None:
    case = Recorded(build_mlp((4,), 3, {"hidden": [5], "head_seed": 0}), (4,), 3)
    state = State(case.network, tensors(case.trace.final, case.trace, case.network), training=False)
    loss = influences.TrainingLoss(case.network, state, case.train, case.train.y.numpy(), 11)
    system = influences.koh_liang_system(loss, 1.0)
    exact = conjugate_gradients(system, case.u, tolerance=1e-10).vector
    residual = [
        product + solution - part
        for product, solution, part in zip(loss.product(exact), exact, case.u, strict=True)
    ]
    assert dot(residual, residual) < 1e-18
    approximate = lissa(system, case.u, scale=3.0, depth=200).vector
    for mine, other in zip(exact, approximate, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)


def test_negative_curvature_and_divergence_are_clear_lines() -> None:
    u = (torch.ones(2, dtype=torch.float64),)
    concave = Operator(lambda v: tuple(-part for part in v), 2, damping=0.1, remedy="raise damping")
    with pytest.raises(GlitchtraceError, match=r"damped by 0.1 is not positive .* -0.9\); raise damping"):
        conjugate_gradients(concave, u, indefinite="stop")
    case = tabular()
    state = State(case.network, tensors(case.trace.final, case.trace, case.network), training=False)
    loss = influences.TrainingLoss(case.network, state, case.train, case.train.y.numpy(), 30)
    with pytest.raises(GlitchtraceError, match=r"LiSSA diverges: .* scale = 0.001; raise scale"):
        lissa(influences.koh_liang_system(loss, 1.0), case.u, scale=1e-3, depth=500)


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(recorded: Recorded, tmp_path):
    write_trace(recorded.trace, tmp_path / "trace.safetensors")
    np.save(tmp_path / "snapshots.npy", recorded.keep)
    return tmp_path


def test_a_trace_comes_back_as_written(recorded: Recorded, stored) -> None:
    found = read_trace(stored / "trace.safetensors")
    for name in ("batches", "rates", "seeds", "initial", "epoch_states", "checksums"):
        np.testing.assert_array_equal(getattr(found, name), getattr(recorded.trace, name))
    assert (found.layout, found.epochs, found.l2) == (recorded.trace.layout, 3, 0.01)
    assert [*found.layout.shapes] == [*recorded.trace.layout.shapes], "in the order of the values"
    snapshots = open_snapshots(stored / "snapshots.npy", found)
    np.testing.assert_array_equal(snapshots[4], recorded.keep[4])


def test_snapshots_of_another_training_are_refused(recorded: Recorded, stored) -> None:
    np.save(stored / "snapshots.npy", recorded.keep + 1e-9)
    with pytest.raises(GlitchtraceError, match="the snapshot of step 7 is not that of the recorded training"):
        open_snapshots(stored / "snapshots.npy", recorded.trace)[7]
    np.save(stored / "snapshots.npy", recorded.keep[:-1])
    with pytest.raises(GlitchtraceError, match=r"11 snapshots .* recorded training has 12"):
        open_snapshots(stored / "snapshots.npy", recorded.trace)


def test_truncated_files_are_one_clear_line(recorded: Recorded, stored) -> None:
    for name, read in (
        ("snapshots.npy", lambda path: open_snapshots(path, recorded.trace)),
        ("trace.safetensors", read_trace),
    ):
        content = (stored / name).read_bytes()
        (stored / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(GlitchtraceError, match=name) as caught:
            read(stored / name)
        assert "\n" not in str(caught.value)


def test_too_little_disk_is_told_before_training(tmp_path, monkeypatch) -> None:
    plan = make_plan(SAMPLES, epochs=2, batch_size=8, learning_rate=0.1)
    layout = layout_of(build_mlp((4,), 3, {"hidden": [5], "head_seed": 0}))
    needed = {name: snapshot_bytes(plan, layout, name) for name in ("all", "last", "none")}
    assert needed == {"all": 8 * layout.width * 4, "last": 4 * layout.width * 4, "none": 0}
    require_space(tmp_path, needed["all"], "protocols.sgd.snapshots")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(GlitchtraceError, match=r"0.00 GB left.*set protocols.sgd.snapshots to last or none"):
        require_space(tmp_path, needed["all"], "protocols.sgd.snapshots")


def test_a_diverging_step_is_named() -> None:
    with pytest.raises(GlitchtraceError, match=r"diverged in step \d+ \(epoch \d\) at learning rate 1e\+200"):
        tabular(learning_rate=1e200)


def test_a_walk_that_leaves_the_numbers_is_named(recorded: Recorded) -> None:
    huge = tuple(part * np.inf for part in recorded.u)
    with pytest.raises(GlitchtraceError, match=r"stops being finite in step 11 \(epoch 3\)"):
        recorded.walk(u=huge)


def test_a_walk_beyond_the_snapshots_and_unknown_options_are_refused(recorded: Recorded) -> None:
    plan = recorded.plan
    first = first_snapshot(plan, "last")
    network = build_mlp((4,), 3, {"hidden": [5], "head_seed": 0}).double()
    keep = np.empty((plan.steps - first, recorded.trace.layout.width))
    trace = record(network, recorded.train, plan, keep=keep, first=first)
    last = sgd_influence(
        network, recorded.train, trace, recorded.u, snapshots=Snapshots(trace, keep), first_epoch=2
    )
    np.testing.assert_array_equal(last, recorded.walk(first_epoch=2))
    with pytest.raises(GlitchtraceError, match="snapshots begin at step 8, the walk needs them from step 0"):
        sgd_influence(network, recorded.train, trace, recorded.u, snapshots=Snapshots(trace, keep))
    for options in ({"bn": "none"}, {"hvp_scale": "twice"}):
        with pytest.raises(GlitchtraceError, match="unknown value"):
            recorded.walk(**options)
    with pytest.raises(GlitchtraceError, match="split: unknown value"):
        make_plan(5, epochs=1, batch_size=2, learning_rate=0.1, split="thirds")


def test_a_trace_of_another_network_or_of_fewer_samples_is_refused(recorded: Recorded) -> None:
    other = build_mlp((4,), 3, {"hidden": [6], "head_seed": 0})
    more = Data((4,), 3, SAMPLES + 1)
    for network, samples, message in (
        (other, recorded.train, "trace is that of another network"),
        (recorded.network, more, "trace is of 30 samples, the cell has 31; record the training again"),
    ):
        with pytest.raises(GlitchtraceError, match=message):
            replay(network, samples, recorded.trace)
        with pytest.raises(GlitchtraceError, match=message):
            sgd_influence(network, samples, recorded.trace, recorded.u)


def test_dropout_is_refused() -> None:
    network = build_mlp((4,), 3, {"hidden": [5], "head_seed": 0})
    network.add_module("noise", nn.Dropout(0.5))
    plan = make_plan(SAMPLES, epochs=1, batch_size=8, learning_rate=0.1)
    with pytest.raises(GlitchtraceError, match="which dropout prevents"):
        record(network, Data((4,), 3), plan)


# --- networks and augmentation ------------------------------------------------------------------------------------


def test_sizes_of_the_published_networks() -> None:
    def parameters(network: Network) -> int:
        return sum(parameter.numel() for parameter in network.trained_parameters())

    assert parameters(build_small_cnn((1, 28, 28), 10, {"head_seed": 0})) == 13_750
    for shape, count, values in (((1, 32, 32), 307_370, 307_818), ((3, 32, 32), 307_946, 308_394)):
        network = build_six_conv_cnn(shape, 10, {"head_seed": 0})
        assert (parameters(network), layout_of(network).width) == (count, values)
    assert parameters(build_six_conv_cnn((3, 96, 96), 10, {"head_seed": 0})) == 471_786
    with pytest.raises(GlitchtraceError, match="at least 16 × 16"):
        build_small_cnn((1, 8, 8), 10, {"head_seed": 0})
    with pytest.raises(GlitchtraceError, match="at least 8 × 8"):
        build_six_conv_cnn((1, 4, 4), 10, {"head_seed": 0})


def test_augmentation_depends_on_the_seed_alone_and_is_a_shifted_picture() -> None:
    pictures = torch.arange(2 * 3 * 5 * 5, dtype=torch.float32).reshape(2, 3, 5, 5)
    augment = Augmentation(padding=2, flip=True)
    alone = [augment.apply(pictures[:1], np.array([seed])) for seed in range(200)]
    together = augment.apply(pictures[:1].expand(200, -1, -1, -1), np.arange(200))
    assert torch.equal(torch.cat(alone), together)
    padded = nn.functional.pad(pictures[:1], (2,) * 4, value=-1.0)
    windows = [
        padded[:, :, top : top + 5, left : left + 5].flip(dims)
        for top in range(5)
        for left in range(5)
        for dims in ([], [3])
    ]
    found = {next(place for place, w in enumerate(windows) if torch.equal(w, one)) for one in alone}
    assert len(found) > 45, "all 50 crops and flips are drawn"
    assert torch.equal(Augmentation().apply(pictures, np.arange(2)), pictures)
    assert Augmentation(2).apply(pictures[:, 0, 0], np.arange(2)).shape == (2, 5)
