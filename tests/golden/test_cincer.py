"""CINCER against the golden values: scores of frozen models, whole protocol traces, and start states."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from components import complete_card
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.model_selection import train_test_split

from glitchtrace.core import registry
from glitchtrace.influence.solvers import Operator, direct
from glitchtrace.papers.cincer import curvature
from glitchtrace.papers.cincer import loop as loop_module
from glitchtrace.papers.cincer.cells import part_sizes
from glitchtrace.papers.cincer.dense import DenseNetwork, softmax
from glitchtrace.papers.cincer.loop import Loop
from glitchtrace.papers.cincer.loop import calibration_error as calibration_error_of
from glitchtrace.papers.cincer.problem import Problem, make_problem, start_states
from glitchtrace.papers.cincer.query import (
    Negotiator,
    Query,
    Ranking,
    largest_distance,
    load_inspector,
    load_negotiator,
)
from glitchtrace.papers.cincer.stage import PerfectAnnotator, run

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "cincer"
LOADERS = {"breast": load_breast_cancer, "iris": load_iris, "wine": load_wine}
SCORE_CASES = ("breast_logreg", "iris_logreg", "iris_tiny5", "wine_fullnet")
PROTOCOL_CASES = sorted(file.stem for file in FOLDER.glob("protocol_*.json"))
SIGNED = {"sign": "published"}


def problem_of(name: str) -> Problem:
    data = LOADERS[name]()
    train, test = train_test_split(np.arange(len(data.target)), test_size=0.2, random_state=1)
    return make_problem(data.data, data.target, train, test, classes=len(data.target_names))


# --- score cases ------------------------------------------------------------------------------------------------


class Case:
    """A frozen model and its golden arrays."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.golden = np.load(FOLDER / f"{name}.npz")
        self.notes = json.loads((FOLDER / f"{name}.json").read_text())
        weights = [self.golden["w__" + key.replace("/", ".")] for key in self.notes["weight_order"]]
        kernels = weights[::2]
        activation = "tanh" if "tiny" in name else "relu"
        widths = [kernels[0].shape[0], *(kernel.shape[1] for kernel in kernels)]
        self.model = DenseNetwork(widths, activation=activation, dtype=np.float64)
        self.model.parameters[:] = np.concatenate([weight.ravel() for weight in weights])
        self.inputs, self.labels = self.golden["X"], self.golden["y_noisy"]
        self.targets = [int(target) for target in self.golden["targets"]]

    def query(self, target: int) -> Query:
        return Query(
            classifier=self.model,
            inputs=self.inputs,
            labels=self.labels,
            known=[*map(int, self.golden["kn0"]), target],
            example=target,
            probabilities=self.model.probabilities(self.inputs[target : target + 1])[0],
            diameter=lambda _: largest_distance(self.inputs),
            whole_order=True,
        )

    def rank(self, name: str, target: int, **settings: Any) -> Ranking:
        complete = {key: fragment["default"] for key, fragment in complete_card("negotiator", name).items()}
        rank = load_negotiator(name, {**complete, **settings}).rank
        assert rank is not None
        return rank(self.query(target), np.random.RandomState(100 + target))

    def scores(self, name: str, target: int, **settings: Any) -> np.ndarray:
        """Scores in the order of the candidates."""
        ranking = self.rank(name, target, **settings)
        assert ranking.scores is not None
        return ranking.scores[np.argsort(ranking.order)]

    def has(self, key: str) -> bool:
        return key in self.golden.files


CASES = {name: Case(name) for name in SCORE_CASES}
PAIRS = [(name, target) for name in SCORE_CASES for target in CASES[name].targets]
# Golden array -> negotiator, settings, relative tolerance.
SCORES: Mapping[str, tuple[str, dict[str, Any], float]] = {
    "practical_fisher": ("practical_fisher", {}, 1e-6),
    "top_fisher_orig30": ("top_fisher", {}, 1e-4),
    "top_fisher_all_damp0": ("top_fisher", {"sample": None}, 1e-4),
    "top_fisher_all_damp0.01": ("top_fisher", {"sample": None, "damping": 0.01}, 1e-6),
    "top_fisher_all_damp1": ("top_fisher", {"sample": None, "damping": 1.0}, 1e-6),
    "full_fisher_orig_pinv": ("full_fisher", {"damping": 0.0}, 1e-4),
    "full_fisher_damp0": ("full_fisher", {"damping": 0.0}, 1e-4),
    "full_fisher_damp0.01": ("full_fisher", {"damping": 0.01}, 1e-6),
    "full_fisher_damp1": ("full_fisher", {"damping": 1.0}, 1e-6),
    "diag_fisher_damp0.01": ("approx_fisher", {"damping": 0.01}, 1e-6),
    "block_fisher_pertensor_damp0.01": ("block_fisher", {"damping": 0.01}, 1e-6),
    "if_exact_damp0.01": ("if", {"solver": "exact", "damping": 0.01}, 1e-6),
    "if_exact_damp1": ("if", {"solver": "exact", "damping": 1.0}, 1e-6),
}
# What the golden arrays do not hold: dense matrices of the largest network, and of later targets.
WITHOUT_MATRICES = ("wine_fullnet",)
NEEDS_MATRICES = tuple(key for key in SCORES if key.startswith(("full_", "diag_", "block_", "if_exact")))
HELD = [
    (name, target, key)
    for name, target in PAIRS
    for key in SCORES
    if not (name in WITHOUT_MATRICES and key in NEEDS_MATRICES)
]


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", SCORE_CASES)
def test_probabilities_margins_and_inspectors(name: str) -> None:
    case = CASES[name]
    close(case.model.probabilities(case.inputs), case.golden["proba"], 1e-12)
    for sample in range(0, len(case.inputs), 7):
        query = case.query(sample)
        rng = np.random.RandomState(0)
        for inspector, key in (
            ("margin", "margin"),
            ("gradient", "expected_grad_len_sq"),
            ("fisher", "fisher_inspector"),
        ):
            verdict = load_inspector(inspector, 0.5, {}).inspect(query, rng)
            assert verdict.score == pytest.approx(case.golden[key][sample], rel=1e-10, abs=1e-14)
            assert verdict.suspicious == (verdict.score > 0.5)


@pytest.mark.parametrize("name", SCORE_CASES)
def test_gradients(name: str) -> None:
    case = CASES[name]
    rows = np.arange(len(case.inputs))
    gradients = case.model.gradients(case.inputs, rows, case.labels)
    if case.has("grad_logp_annotated"):
        close(gradients.vectors(), case.golden["grad_logp_annotated"], 1e-12)
    else:
        targets = np.array(case.targets)
        close(gradients.take(targets).vectors(), case.golden["grad_logp_annotated_targets"], 1e-12)
        norms = np.linalg.norm(gradients.vectors(), axis=1)
        close(norms, case.golden["grad_logp_annotated_norm"], 1e-12)
        top = case.model.gradients(case.inputs, rows, case.labels, top=True)
        close(top.vectors(), case.golden["grad_logp_annotated_top"], 1e-12)
    for target in case.targets[:1]:
        stored = "grad_prob_annotated"
        expected = case.golden[stored][target] if case.has(stored) else case.golden[f"{stored}_targets"][0]
        close(case.query(target).prediction_gradient(), expected, 1e-12)
    if case.has("grad_logp_all_classes"):
        for label in range(case.model.classes):
            found = case.model.gradients(case.inputs, rows, np.full(len(rows), label)).vectors()
            close(found, case.golden["grad_logp_all_classes"][:, label], 1e-12)


@pytest.mark.parametrize(("name", "target"), PAIRS)
def test_matrices(name: str, target: int) -> None:
    case = CASES[name]
    query = case.query(target)
    sample = case.golden[f"t{target}_top_fisher_subsample"]
    drawn = np.random.RandomState(100 + target).permutation(query.known)[:30]
    np.testing.assert_array_equal(drawn, sample)
    found = {}
    for key, samples, top in (
        ("top_fim_subsample", sample, True),
        ("full_fim", query.known, False),
        ("diag_fim", query.known, False),
    ):
        if case.has(f"t{target}_{key}"):
            columns, weights = query.fisher_columns(samples, top=top)
            vectors = columns.vectors()
            found[key] = (weights[:, None] * vectors).T @ vectors
            if key == "diag_fim":
                found[key] = columns.mean_square(weights)
    if case.has(f"t{target}_hessian_mean_kn"):
        found["hessian_mean_kn"] = curvature.dense_hessian(query.mean_hessian_product, case.notes["n_params"])
    for key, matrix in found.items():
        close(matrix, case.golden[f"t{target}_{key}"], 1e-11)


@pytest.mark.parametrize("name", SCORE_CASES)
def test_no_golden_value_is_missing(name: str) -> None:
    """What other tests compare where it is there."""
    case, large = CASES[name], name in WITHOUT_MATRICES
    later = case.targets[1:]
    matrices = {"top_fim_subsample", "full_fim", "hessian_mean_kn", "diag_fim", "if_lissa_ihvp"}
    for target in case.targets:
        absent = {"full_fim", "hessian_mean_kn", "diag_fim"} if large else set()
        absent |= {"top_fim_subsample", "full_fim", "hessian_mean_kn"} if target in later else set()
        absent |= {"if_lissa_ihvp"} if large and target in later else set()
        assert {key for key in matrices if not case.has(f"t{target}_{key}")} == absent, target
    assert case.has("grad_logp_annotated") is case.has("grad_prob_annotated") is not large
    assert case.has("grad_logp_all_classes") is (name == "iris_logreg")


@pytest.mark.parametrize(("name", "target", "key"), HELD)
def test_scores_and_choices(name: str, target: int, key: str) -> None:
    case = CASES[name]
    notes = case.notes["targets"][str(target)]
    np.testing.assert_array_equal(case.query(target).candidates, case.golden[f"t{target}_candidates"])
    negotiator, settings, tolerance = SCORES[key]
    expected = case.golden[f"t{target}_{key}"]
    close(case.scores(negotiator, target, **settings), expected, tolerance)
    ranking = case.rank(negotiator, target, **settings)
    assert ranking.chosen == notes["selection"][key]["chosen"]
    # Candidates of equal score to rounding may change places.
    places = np.searchsorted(case.query(target).candidates, notes["selection"][key]["ranking_top5"])
    assert ranking.scores is not None
    close(expected[places], ranking.scores[: len(places)], tolerance)


@pytest.mark.parametrize(("name", "target"), PAIRS)
def test_lissa_replayed(name: str, target: int) -> None:
    case = CASES[name]
    query = case.query(target)
    order = case.golden[f"t{target}_if_lissa_sample_order"]
    solution = curvature.solve_by_lissa(
        query.sample_hessian_product, query.prediction_gradient(), 1.0, [order]
    )
    if case.has(f"t{target}_if_lissa_ihvp"):
        close(solution, case.golden[f"t{target}_if_lissa_ihvp"], 1e-6)
    scores = query.gradients_of(query.candidates).times(solution[None])[:, 0]
    close(scores, case.golden[f"t{target}_if_lissa_orig"], 1e-6)
    chosen = query.candidates[scores.argmax()]
    assert chosen == case.notes["targets"][str(target)]["selection"]["if_lissa_orig"]["chosen"]
    order = case.golden[f"t{target}_inspector_influence_sample_order"]
    loss_gradient = -query.own_gradient().vectors()[0]
    solution = curvature.solve_by_lissa(query.sample_hessian_product, loss_gradient, 1.0, [order])
    expected = float(case.golden[f"t{target}_inspector_influence_orig"])
    assert np.linalg.norm(solution) / len(query.known) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("name", "target"), PAIRS)
def test_nearest_random_and_nearest_fisher(name: str, target: int) -> None:
    case = CASES[name]
    notes = case.notes["targets"][str(target)]
    close(-case.scores("nearest", target), case.golden[f"t{target}_nearest_dist"], 1e-12)
    assert case.rank("nearest", target).chosen == notes["selection"]["nearest"]["chosen"]
    assert case.rank("random", target).chosen == notes["random_choice_seed100+i"]
    assert largest_distance(case.inputs) == pytest.approx(notes["nearest_fisher"]["max_dist"], rel=1e-12)
    radius = notes["nearest_fisher"]["radius_fraction"]
    assert case.rank("nearest_fisher", target, radius=radius).chosen == notes["nearest_fisher"]["chosen"]


RELATIF = ["iris_logreg"]


@pytest.mark.parametrize("name", RELATIF)
def test_relative_influence(name: str) -> None:
    case = CASES[name]
    known = case.golden["kn0"]
    notes = case.notes["relatif"]
    test = notes["test_index"]
    model, every = case.model, np.arange(len(known))
    hessian = curvature.dense_hessian(
        lambda vector: model.hessian_product(case.inputs[known], case.labels[known], vector),
        case.notes["n_params"],
    )
    gradients = -model.gradients(case.inputs[known], every, case.labels[known]).vectors()
    target = -model.gradients(case.inputs[[test]], np.array([0]), case.labels[[test]]).vectors()[0]
    damped = Operator(lambda vector: hessian @ vector, len(hessian), notes["damping"])
    solutions = direct(damped, gradients.T, indefinite=True).vector.T
    close(curvature.influence(solutions, target), case.golden["relatif_influence_on_loss"], 1e-6)
    close(curvature.parameter_relative(solutions, target), case.golden["relatif_theta"], 1e-6)
    close(curvature.loss_relative(solutions, target, gradients), case.golden["relatif_l"], 1e-6)
    assert RELATIF


# --- protocol and stream cases ----------------------------------------------------------------------------------


class Centroids:
    """The stand-in model of the protocol cases: softmax of −4 ‖x − mean of the class‖²."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def fit(self, inputs: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
        flat = inputs.reshape(len(inputs), -1)
        self.means = np.full((self.classes, flat.shape[1]), 1000.0)
        for label in np.unique(labels):
            self.means[label] = flat[labels == label].mean(axis=0)

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        flat = inputs.reshape(len(inputs), -1)
        return softmax(-4 * ((flat[:, None] - self.means) ** 2).sum(axis=2))


RENAMED = {"suspiciousnesses": "suspiciousness", "noisy_ce": "wrong_counter_example"}


def negotiator_of(arguments: dict[str, Any]) -> Negotiator:
    if arguments["no_ce"]:
        return load_negotiator("no_ce", {})
    nearest = load_negotiator("nearest", {})
    if arguments["negotiator"] == "ce_removal":
        return Negotiator(nearest.rank, drops=True)
    return (
        nearest
        if arguments["negotiator"] == "practical_fisher"
        else load_negotiator(arguments["negotiator"], {})
    )


def published_starts(arguments: dict[str, Any], problem: Problem, rng: np.random.RandomState) -> list:
    return start_states(
        problem,
        annotate=registry.load("noise", arguments["noise_type"]).annotate,
        ratio=arguments["p_noise"],
        known=arguments["p_known"],
        iterations=arguments["max_iters"],
        repeats=arguments["n_repeats"],
        precision=arguments.get("ce_precision", False),
        rng=rng,
        train_margins=lambda: pytest.fail("random noise trains nothing"),
    )


def without_least_confident(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The calibration error where the least confident sample is in no bucket.

    The published code loses it now and then, when rounding puts the lowest edge just above it.
    """
    least = probabilities.max(axis=1).argmin()
    confidence = probabilities.max(axis=1)
    edges = np.quantile(confidence, [1 / 3, 2 / 3], method="nearest")
    error = 0.0
    for number in range(3):
        chosen = np.searchsorted(edges, confidence, side="right") == number
        chosen[least] = False
        if chosen.any():
            right = (probabilities.argmax(axis=1) == truth)[chosen]
            error += chosen.mean() * abs(right.mean() - confidence[chosen].mean())
    return error


@pytest.mark.parametrize("name", PROTOCOL_CASES)
def test_whole_traces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[set[float]] = []

    def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
        whole = calibration_error_of(probabilities, truth)
        errors.append({whole, without_least_confident(probabilities, truth)})
        return whole

    monkeypatch.setattr(loop_module, "calibration_error", calibration_error)
    golden = np.load(FOLDER / f"{name}.npz")
    notes = json.loads((FOLDER / f"{name}.json").read_text())
    arguments = notes["args"]
    problem = problem_of(arguments["dataset"])
    rng = np.random.RandomState(arguments["seed"])
    starts = published_starts(arguments, problem, rng)
    for repeat, start in enumerate(starts):
        errors.clear()
        np.testing.assert_array_equal(start.known, golden[f"r{repeat}_kn0"])
        np.testing.assert_array_equal(start.stream, golden[f"r{repeat}_stream"])
        np.testing.assert_array_equal(start.labels, golden[f"r{repeat}_y_noisy0"])
        noisy = np.flatnonzero(start.labels != problem.truth)
        np.testing.assert_array_equal(noisy, np.sort(golden[f"r{repeat}_noisy0"]))
        loop = Loop(
            problem,
            start,
            classifier=Centroids(problem.classes),
            inspector=load_inspector(arguments["inspector"], arguments["threshold"], {}),
            negotiator=negotiator_of(arguments),
            rng=rng,
            training_rng=np.random.default_rng(0),
            precision=arguments["ce_precision"],
        )
        run(loop, PerfectAnnotator(problem.truth))
        trace = golden[f"r{repeat}_trace"]
        assert len(loop.state.rows) == len(trace)
        for place, column in enumerate(notes["trace_columns"]):
            found = np.array([row[RENAMED.get(column, column)] for row in loop.state.rows], dtype=float)
            expected = trace[:, place]
            if column == "noisy_ce":
                # Published is the iteration, counted from 0, in which the counter-example was wrong.
                found = found * np.maximum(np.arange(len(found)) - 1, 0)
            if column == "ece":
                # With ce_precision nothing is fitted again, and the test part is measured once.
                pairs = errors * len(expected) if arguments["ce_precision"] else errors
                for pair, value in zip(pairs, expected, strict=True):
                    assert min(abs(error - value) for error in pair) < 1e-12
                continue
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=column)
        np.testing.assert_array_equal(np.sort(loop.state.known), np.sort(golden[f"r{repeat}_kn_end"]))
        np.testing.assert_array_equal(loop.state.labels, golden[f"r{repeat}_y_noisy_end"])
        noisy = np.flatnonzero(loop.state.labels != problem.truth)
        np.testing.assert_array_equal(noisy, np.sort(golden[f"r{repeat}_noisy_end"]))


def test_start_states_of_the_published_breast_runs() -> None:
    name = "streams_breast_k100_T100_R5_seed1"
    golden = np.load(FOLDER / f"{name}.npz")
    notes = json.loads((FOLDER / f"{name}.json").read_text())
    problem = problem_of("breast")
    np.testing.assert_array_equal(problem.truth, golden["y_true"])
    starts = published_starts(notes, problem, np.random.RandomState(notes["seed"]))
    for repeat, start in enumerate(starts):
        np.testing.assert_array_equal(start.known, golden[f"r{repeat}_kn"])
        np.testing.assert_array_equal(start.stream, golden[f"r{repeat}_stream"])
        np.testing.assert_array_equal(start.labels, golden[f"r{repeat}_y_noisy"])
        arriving = int((start.labels[start.stream] != problem.truth[start.stream]).sum())
        assert arriving == notes["n_mistakes_seen_at_end"][repeat]


# Wrong labels that arrived in each of the five published repeats, with 100 known samples but for 20 Newsgroups.
ARRIVED = {
    "adult": [20, 25, 20, 21, 21],
    "breast_cancer": [23, 20, 21, 17, 21],
    "fmnist": [17, 21, 20, 18, 21],
    "mnist": [17, 21, 20, 18, 21],
    "newsgroups": [19, 20, 17, 19, 19],
}


@pytest.mark.parametrize("name", ARRIVED)
def test_wrong_labels_arrive_as_in_the_published_runs(name: str) -> None:
    config = yaml.safe_load((ROOT / "config/variants/loops.yaml").read_text())
    loop = config["loops"]["interactive@published_20ng" if name == "newsgroups" else "interactive@published"]
    card, settings = registry.card("dataset", name), complete_card("loop", "interactive")
    protocol = {key: loop.get(key, fragment["default"]) for key, fragment in settings.items()}
    samples, _ = part_sizes(card["rows"], protocol["split"])
    # The draws depend on the numbers of samples and classes alone.
    truth = np.zeros(samples, np.int64)
    nothing = np.empty((samples, 0))
    problem = Problem(nothing, truth, nothing[:0], truth[:0], card["classes"], np.arange(samples))
    arguments = {
        "noise_type": "random",
        "p_noise": 0.2,
        "p_known": protocol["known"],
        "max_iters": protocol["iterations"],
        "n_repeats": 5,
    }
    starts = published_starts(arguments, problem, np.random.RandomState(1))
    assert [int((start.labels[start.stream] != 0).sum()) for start in starts] == ARRIVED[name]


def test_the_golden_folder_is_used_whole() -> None:
    used = {*SCORE_CASES, *PROTOCOL_CASES, "streams_breast_k100_T100_R5_seed1"}
    assert {file.stem for file in FOLDER.iterdir()} == used
