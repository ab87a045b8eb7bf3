"""Golden cases of the published programs: every influence from the stored traces, and every replay."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from glitchtrace.influence import sgd_influence as influences
from glitchtrace.influence.sgd_influence import sgd_influence, tensors, validation_gradient
from glitchtrace.influence.solvers import conjugate_gradients
from glitchtrace.models.dense import build_linear, build_mlp
from glitchtrace.models.network import Network
from glitchtrace.training.recorded.objective import State, accuracy, dot, losses
from glitchtrace.training.recorded.recording import layout_of, make_plan, record, replay
from glitchtrace.training.recorded.trace import Snapshots, Trace, checksum

FOLDER = Path(__file__).parent / "cleansing"
LOGISTIC = ["logreg_breast_cancer_decay", "logreg_digits38_uneven"]
BINARY = [*LOGISTIC, "dnn_wine0"]
# Largest error relative to the largest value.
TOLERANCE = {**dict.fromkeys(LOGISTIC, 1e-10), "dnn_wine0": 1e-8, "cnn_digits10": 2e-5}


class GoldenCNN(Network):
    """The network of the golden case: one convolution of 4 channels, ReLU, pooling, linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(36, 10)
        self.train_only(["conv", "head"])

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return max_pool2d(self.conv(x).relu(), 2).flatten(1)


class Arrays:
    """Samples at hand as arrays."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, rows, seeds=None):
        return self.x[rows] if seeds is None else (self.x[rows], self.y[rows])


class Case:
    """One golden case as a trace with snapshots."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values = dict(np.load(FOLDER / f"{name}.npz"))
        v = self.values
        if name.startswith("logreg"):
            self.network = build_linear((v["x_train"].shape[1],), 1, {"head_seed": 0}).double()
        elif name.startswith("dnn"):
            self.network = build_mlp((13,), 1, {"hidden": [8, 8], "head_seed": 0}).double()
        else:
            self.network = GoldenCNN()
        self.train, self.validation = Arrays(v["x_train"], v["y_train"]), Arrays(v["x_val"], v["y_val"])
        steps = len(v["lr"])
        self.epochs = (v["infl_sgd_by_start_epoch"]).shape[1]
        size = steps // self.epochs
        checksums = np.array([checksum(state) for state in v["params"][:-1]], dtype=np.uint32)
        self.trace = Trace(
            batches=v["batch_index"].astype(np.int32),
            rates=v["lr"],
            seeds=np.zeros(v["batch_index"].shape, dtype=np.int64),
            epochs=self.epochs,
            l2=float(v.get("alpha", 0.0)),
            initial=v["params"][0],
            epoch_states=v["params"][size::size],
            checksums=checksums,
            first_snapshot=0,
            layout=layout_of(self.network),
        )
        self.snapshots = Snapshots(self.trace, v["params"][:-1])
        self.u = validation_gradient(
            self.network, self.trace.final, self.trace, self.validation, v["y_val"], 40
        )

    def walk(self, *, final: bool = False, **options) -> np.ndarray:
        snapshots = None if final else self.snapshots
        return sgd_influence(self.network, self.train, self.trace, self.u, snapshots=snapshots, **options)

    def loss(self) -> influences.TrainingLoss:
        state = State(self.network, tensors(self.trace.final, self.trace, self.network), training=False)
        return influences.TrainingLoss(self.network, state, self.train, self.train.y.numpy(), 1000)

    def scores(self, *, parts=("train", "val", "test")) -> dict[str, tuple[float, float]]:
        """Mean loss and accuracy of the network as it is."""
        found = {}
        self.network.eval()
        for part in parts:
            samples = Arrays(self.values[f"x_{part}"], self.values[f"y_{part}"])
            with torch.no_grad():
                outputs = self.network(samples.x)
                found[part] = (float(losses(outputs, samples.y).mean()), accuracy(outputs, samples.y))
        return found

    def loss_changes(self, first_epoch: int = 0) -> np.ndarray:
        """Validation loss after leaving out each sample alone, minus that of the recorded training."""
        found = []
        for sample in [None, *range(len(self.train))]:
            removed = np.zeros(len(self.train), dtype=bool)
            if sample is not None:
                removed[sample] = True
            replay(self.network, self.train, self.trace, removed, first_epoch=first_epoch)
            found.append(self.scores(parts=("val",))["val"][0])
        return np.array(found[1:]) - found[0]


@pytest.fixture(scope="module", params=[*BINARY, "cnn_digits10"])
def case(request) -> Case:
    return Case(request.param)


@pytest.fixture(scope="module", params=BINARY)
def binary(request) -> Case:
    return Case(request.param)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error < tolerance, error


def test_influence_over_all_start_epochs(case: Case) -> None:
    assert_close(case.walk(), case.values["infl_sgd_by_start_epoch"], TOLERANCE[case.name])


def test_influence_of_the_last_epoch_alone(case: Case) -> None:
    found = case.walk(first_epoch=case.epochs - 1)
    assert found.shape == (len(case.train), 1)
    assert_close(found[:, 0], case.values["infl_sgd_by_start_epoch"][:, -1], TOLERANCE[case.name])


def test_influence_with_the_final_parameters(case: Case) -> None:
    found, v = case.walk(final=True), case.values
    assert_close(found, v["infl_finalparam_by_start_epoch"], TOLERANCE[case.name])
    last = case.walk(final=True, first_epoch=case.epochs - 1)
    assert_close(last[:, 0], v["infl_finalparam_by_start_epoch"][:, -1], TOLERANCE[case.name])


def test_influence_with_the_published_double_division(case: Case) -> None:
    found, final = case.walk(hvp_scale="legacy"), case.walk(hvp_scale="legacy", final=True)
    v, tolerance = case.values, TOLERANCE[case.name]
    if "infl_double_by_start_epoch" in v:
        assert_close(found, v["infl_double_by_start_epoch"], tolerance)
        assert_close(final, v["infl_double_finalparam_by_start_epoch"], tolerance)
    else:
        for scope, column in (("all", 0), ("last", -1)):
            assert_close(found[:, column], v[f"infl_double_{scope}"], tolerance)
            assert_close(final[:, column], v[f"infl_double_finalparam_{scope}"], tolerance)


def test_influence_without_hessian(binary: Case) -> None:
    found = binary.walk(hessian=False)
    assert_close(found[:, 0], binary.values["infl_nohess_all"], TOLERANCE[binary.name])
    assert_close(found[:, -1], binary.values["infl_nohess_last"], TOLERANCE[binary.name])


def test_validation_gradient(binary: Case) -> None:
    found = np.concatenate([part.numpy().ravel() for part in binary.u])
    assert_close(found, binary.values["val_loss_gradient"], TOLERANCE[binary.name])


def test_koh_and_liang_exact(binary: Case) -> None:
    loss, damping = binary.loss(), float(binary.values["kl_damping"])
    v = conjugate_gradients(influences.koh_liang_system(loss, damping), binary.u, tolerance=1e-13)
    assert_close(influences.koh_liang(loss, v.vector), binary.values["infl_kl_exact_damped"], 1e-10)


def test_koh_and_liang_by_the_published_solver(binary: Case) -> None:
    loss, damping = binary.loss(), float(binary.values["kl_damping"])
    v = influences.published_sgd(
        loss, binary.u, damping, learning_rate=0.01, momentum=0.9, epochs=100, batch=200, start="gradient"
    )
    assert_close(influences.koh_liang(loss, v.vector), binary.values["infl_icml"], 1e-6)


def test_koh_and_liang_of_the_image_experiment() -> None:
    case = Case("cnn_digits10")
    v = influences.published_sgd(
        case.loss(), case.u, 0.1, learning_rate=0.005, momentum=0.9, epochs=2, batch=1000, start="zero"
    )
    # Published with the opposite sign.
    assert_close(-influences.koh_liang(case.loss(), v.vector), case.values["infl_icml_sec72_sign"], 2e-5)


def test_recording_repeats_the_published_training(case: Case) -> None:
    trace, v = case.trace, case.values
    plan = make_plan(
        len(case.train),
        epochs=case.epochs,
        batch_size={"logreg_breast_cancer_decay": 5, "logreg_digits38_uneven": 10, "dnn_wine0": 12}.get(
            case.name, 16
        ),
        learning_rate=float(v["lr"][0]),
        decay="decay" in case.name,
        l2=trace.l2,
    )
    np.testing.assert_array_equal(plan.batches, trace.batches)
    np.testing.assert_allclose(plan.rates, trace.rates, rtol=1e-15)
    case.network.restore(trace.layout.split(trace.initial))
    keep = np.empty_like(v["params"][:-1])
    recorded = record(case.network, case.train, plan, keep=keep)
    assert_close(keep, v["params"][:-1], 1e-5 if case.name.startswith("cnn") else 1e-12)
    assert_close(recorded.final, v["params"][-1], 1e-5 if case.name.startswith("cnn") else 1e-12)


def test_leaving_out_each_sample_gives_the_published_change(case: Case) -> None:
    expected, found = case.values["true_loss_change"], case.loss_changes()
    if case.name.startswith("cnn"):
        # The training without sample 81 passes a kink of the network so close by that rounding in float32 decides
        # its side, by processor: either the published value 0.0833215, or 0.0837929, which float64 gives too.
        assert np.abs(found[81] - np.array([expected[81], 0.0837929])).min() < 1e-6
        np.testing.assert_allclose(np.delete(found, 81), np.delete(expected, 81), atol=1e-5)
    else:
        np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(expected).max())


def test_leaving_out_each_sample_in_the_last_epoch_only(case: Case) -> None:
    expected = case.values["true_loss_change_last_epoch_only"]
    scale = 1e-5 if case.name.startswith("cnn") else 1e-8 * np.abs(expected).max()
    np.testing.assert_allclose(case.loss_changes(case.epochs - 1), expected, atol=scale)


def test_linear_change_and_final_parameters_without_a_sample(binary: Case) -> None:
    removed = np.zeros(len(binary.train), dtype=bool)
    removed[7] = True
    replay(binary.network, binary.train, binary.trace, removed)
    without = binary.trace.layout.flatten(binary.network.checkpoint())
    np.testing.assert_allclose(without, binary.values["counterfactual_params"][7], rtol=1e-6, atol=1e-7)
    change = [
        torch.from_numpy(part) for part in binary.trace.layout.split(without - binary.trace.final).values()
    ]
    assert dot(binary.u, change) == pytest.approx(float(binary.values["true_linear_change"][7]), rel=1e-8)


def test_removal_curves_of_the_binary_cases(binary: Case) -> None:
    v = binary.values
    for key, name in enumerate(
        ["infl_sgd_all", "infl_sgd_last", "infl_finalparam_all", "infl_finalparam_last"]
    ):
        order = np.argsort(v[name], kind="stable")
        for mode, first_epoch in enumerate((0, binary.epochs - 1)):
            for place, count in enumerate(v["klist"]):
                removed = np.zeros(len(binary.train), dtype=bool)
                removed[order[:count]] = True
                replay(binary.network, binary.train, binary.trace, removed, first_epoch=first_epoch)
                found = np.concatenate(list(binary.scores().values()))
                np.testing.assert_allclose(found, v["removal_scores"][key, mode, place], atol=1e-8)


def test_removal_curves_of_the_pictures() -> None:
    case = Case("cnn_digits10")
    v = case.values
    influences = {
        ("double", "sgd_all"): v["infl_double_by_start_epoch"][:, 0],
        ("single", "sgd_all"): v["infl_sgd_by_start_epoch"][:, 0],
        ("double", "sgd_last"): v["infl_double_by_start_epoch"][:, -1],
        ("single", "sgd_last"): v["infl_sgd_by_start_epoch"][:, -1],
        ("single", "icml"): v["infl_icml_sec72_sign"],
        ("single", "random"): v["random_scores"],
    }
    for (version, method), influence in influences.items():
        order = np.argsort(influence, kind="stable")
        for mode, first_epoch in enumerate((0, case.epochs - 1)):
            for place, count in enumerate(v["klist"]):
                removed = np.zeros(len(case.train), dtype=bool)
                removed[order[:count]] = True
                replay(case.network, case.train, case.trace, removed, first_epoch=first_epoch)
                scores = case.scores()
                found = [scores[part][0] for part in ("train", "val", "test")]
                methods = ["sgd_all", "sgd_last", "icml", "random"]
                row = v["removal_scores"][
                    ["double", "single"].index(version), mode, methods.index(method), place
                ]
                np.testing.assert_allclose(found, row[:3], atol=1e-4)
