"""Noises, start states, the loop and its stage: properties, faults and bad input."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from components import default_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_json
from glitchtrace.papers.cincer import cells
from glitchtrace.papers.cincer.cells import known_count, part_sizes
from glitchtrace.papers.cincer.dense import DenseNetwork
from glitchtrace.papers.cincer.loop import Loop, Question, calibration_error, precision_at, weighted_scores
from glitchtrace.papers.cincer.noises import NoiseContext
from glitchtrace.papers.cincer.problem import (
    Problem,
    Start,
    load_problem,
    make_problem,
    one_hot,
    outlier_subset,
    start_states,
)
from glitchtrace.papers.cincer.query import Inspector, Negotiator, load_inspector, load_negotiator
from glitchtrace.papers.cincer.settings import TrainingSettings
from glitchtrace.papers.cincer.stage import PerfectAnnotator, clean_interactively, run
from glitchtrace.papers.cincer.tables import gather_loops, numbers, summarise_loops

NOISES = registry.names("noise")
TOP = {"sign": "published", "damping": 0.0, "cutoff": 1e-10, "sample": 30}
INTERACTIVE = {
    key: value["default"] for key, value in registry.card("loop", "interactive")["settings"].items()
}


def iris() -> Problem:
    data = load_iris()
    order = np.random.default_rng(0).permutation(150)
    return make_problem(data.data, data.target, order[:110], order[110:], classes=3)


# --- measures ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 5))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_weighted_scores_are_those_of_scikit_learn(seed: int, classes: int) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, classes, 20), rng.integers(0, classes, 20)
    expected = precision_recall_fscore_support(truth, predicted, average="weighted", zero_division=0)
    np.testing.assert_allclose(weighted_scores(truth, predicted, classes), expected[:3], atol=1e-12)


def test_a_calibrated_model_has_no_calibration_error() -> None:
    probabilities = np.repeat([[0.75, 0.25]], 8, axis=0)
    assert calibration_error(probabilities, np.array([0, 0, 0, 1] * 2)) == pytest.approx(0)
    assert calibration_error(probabilities, np.zeros(8, dtype=int)) == pytest.approx(0.25)


def test_precision_of_an_order_divides_by_k_or_by_what_there_is() -> None:
    wrong = np.array([True, False, True])
    assert precision_at(wrong, 5) == 0.4
    assert precision_at(wrong, 5, available=True) == pytest.approx(2 / 3)
    assert precision_at(wrong, 2) == 0.5
    assert np.isnan(precision_at(np.empty(0, dtype=bool), 5))


# --- noises and start states ------------------------------------------------------------------------------------


def context(seed: int, count: int, samples: int = 60, classes: int = 3) -> NoiseContext:
    rng = np.random.default_rng(seed)
    margins = rng.random(samples)
    truth = rng.integers(0, classes, samples)
    return NoiseContext(
        rng.normal(size=(samples, 2)), truth, classes, count, lambda: margins, np.random.RandomState(seed)
    )


@pytest.mark.parametrize("name", NOISES)
@given(st.integers(0, 10**5), st.integers(0, 40))
@settings(deadline=None, derandomize=True, max_examples=15)
def test_every_noise_makes_at_most_the_wanted_number_of_labels_wrong(
    name: str, seed: int, count: int
) -> None:
    given_context = context(seed, count)
    truth = given_context.truth.copy()
    labels = registry.load("noise", name).annotate(given_context)
    wrong = int((labels != truth).sum())
    assert wrong <= count
    if name != "max_margin_cluster":
        assert wrong == count
    np.testing.assert_array_equal(given_context.truth, truth)
    assert set(np.unique(labels)) <= {0, 1, 2}


def wrong_places(name: str, given_context: NoiseContext) -> np.ndarray:
    return np.flatnonzero(registry.load("noise", name).annotate(given_context) != given_context.truth)


def test_margin_noises_take_the_ends_of_the_margin() -> None:
    order = np.argsort(context(3, 7).train_margins())
    assert set(wrong_places("min_margin", context(3, 7))) == set(order[:7])
    assert set(wrong_places("max_margin", context(3, 7))) == set(order[-7:])
    assert set(wrong_places("min_max_margin", context(3, 7))) == {*order[:4], *order[-3:]}


def test_a_cluster_has_one_wrong_label_around_its_centre() -> None:
    given_context = context(1, 30, samples=200)
    labels = registry.load("noise", "max_margin_cluster").annotate(given_context)
    order = np.argsort(given_context.train_margins())[::-1]
    wrong = np.flatnonzero(labels != given_context.truth)
    assert len(np.unique(labels[wrong])) <= 3
    first = order[0]
    others = np.linalg.norm(given_context.inputs - given_context.inputs[first], axis=1).argsort()[:50]
    assert len(set(wrong) & set(others)) >= 5


def test_too_few_wrong_labels_make_no_cluster() -> None:
    assert len(wrong_places("max_margin_cluster", context(1, 9))) == 0


def test_outliers_are_preferred_however_far_they_are() -> None:
    given_context = context(0, 5, samples=60)
    given_context.inputs[:5] += np.arange(1, 6)[:, None] * 5000.0
    assert set(wrong_places("outlier", given_context)) == set(range(5))


@pytest.mark.parametrize(("known", "count"), [(10, 10), (10.4, 10), (0.5, 30), (2, 2)])
def test_known_is_a_number_or_a_share(known: float, count: int) -> None:
    assert known_count(known, 60) == count


@pytest.mark.parametrize("known", [1, 60, 100, 0.001])
def test_a_run_without_anything_known_or_arriving_is_refused(known: float) -> None:
    with pytest.raises(GlitchtraceError, match="known: "):
        known_count(known, 60)


def starts_of(problem: Problem, **changes: object) -> list[Start]:
    options = {"ratio": 0.2, "known": 30.0, "iterations": 20, "repeats": 2, "precision": False}
    options["annotate"] = registry.load("noise", "random").annotate
    return start_states(
        problem,
        rng=np.random.RandomState(1),
        train_margins=lambda: pytest.fail("random noise trains nothing"),
        **{**options, **changes},  # type: ignore[arg-type]
    )


def test_start_states_are_disjoint_and_differ_between_repeats() -> None:
    problem = iris()
    first, second = starts_of(problem)
    for start in (first, second):
        assert not set(start.known) & set(start.stream)
        assert (np.diff(start.known) > 0).all()
        assert (start.labels != problem.truth).sum() == 22
    assert not np.array_equal(first.known, second.known)
    whole = starts_of(problem, iterations=1000)[0]
    assert len(whole.stream) == 80
    measured = starts_of(problem, precision=True)[0]
    np.testing.assert_array_equal(measured.labels[measured.stream], problem.truth[measured.stream])
    assert starts_of(problem, repeats=1)[0].stream.tolist() == first.stream.tolist()


@pytest.mark.parametrize(("wrong", "tolerance", "logged"), [(21, 10, True), (20, 10, False), (21, 25, False)])
def test_unexpected_numbers_of_wrong_labels_are_logged(
    wrong: int, tolerance: float, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    problem = iris()
    start = starts_of(problem, repeats=1)[0]
    chosen = np.concatenate([start.known, start.stream])[:wrong]

    def annotate(given_context: NoiseContext) -> np.ndarray:
        # As many draws as random noise makes, so that the same samples are used.
        registry.load("noise", "random").annotate(given_context)
        labels = given_context.truth.copy()
        labels[chosen] = (labels[chosen] + 1) % 3
        return labels

    with caplog.at_level(logging.WARNING):
        starts_of(problem, repeats=1, annotate=annotate, tolerance=tolerance)
    assert ("21 wrong labels among 50 samples, 10 expected" in caplog.text) == logged


@pytest.mark.parametrize("precision", [False, True])
def test_no_wrong_label_is_refused_where_one_is_needed(precision: bool) -> None:
    problem = iris()
    start = starts_of(problem, repeats=1)[0]

    def wrong_in_the_stream(given_context: NoiseContext) -> np.ndarray:
        registry.load("noise", "random").annotate(given_context)
        labels = given_context.truth.copy()
        labels[start.stream[0]] = (labels[start.stream[0]] + 1) % 3
        return labels

    options = {"repeats": 1, "precision": precision, "annotate": wrong_in_the_stream}
    assert len(starts_of(problem, **options)) == 1
    if precision:
        # Arriving samples have their true labels.
        with pytest.raises(
            GlitchtraceError, match="none of the 30 known samples of repeat 0 has a wrong label"
        ):
            starts_of(problem, **options, needs_wrong=True)
    else:
        assert len(starts_of(problem, **options, needs_wrong=True)) == 1


def test_outlier_noise_keeps_a_subset_of_the_training_part() -> None:
    problem = iris()
    kept = outlier_subset(problem, known=20, iterations=10, rng=np.random.RandomState(0))
    assert len(kept.truth) == 80
    np.testing.assert_array_equal(kept.inputs[3], problem.inputs[problem.rows == kept.rows[3]][0])


# --- problems ---------------------------------------------------------------------------------------------------


def test_tables_are_scaled_on_the_training_rows_and_pictures_are_centred() -> None:
    stored = np.array([[0.0, 5, 1], [2, 5, 3], [4, 6, 9]])
    problem = make_problem(stored, np.array([0, 1, 0]), np.array([0, 1]), np.array([2]), classes=2)
    np.testing.assert_allclose(problem.inputs, [[0, 0, 0], [1, 0, 1]])
    np.testing.assert_allclose(problem.test_inputs, [[2, 1, 4]])
    pictures = np.array([[[0, 255]], [[51, 102]]], dtype=np.uint8)
    problem = make_problem(pictures, np.array([0, 1]), np.array([0]), np.array([1]), classes=2)
    np.testing.assert_allclose(problem.inputs, [[[-0.5, 0.5]]])


def test_categories_are_one_hot_and_missing_ones_the_most_frequent() -> None:
    stored = np.array([[7.0, 0, 2, 1], [8, 1, 3, 0], [9, 1, 0, 2], [6, 1, 0, 0]])
    found = one_hot(stored, (0, 2, 4, 3), (None, None, 3, 2))
    expected = [
        [7, 0, 0, 0, 1, 1],
        [8, 1, 1, 0, 0, 0],
        [9, 1, 1, 0, 0, 0],
        [6, 1, 1, 0, 0, 0],
    ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "train", "test", "columns", "classes"),
    [
        ("synthetic", 800, 200, 2, 4),
        ("iris", 120, 30, 4, 3),
        ("wine", 142, 36, 13, 3),
        ("breast_cancer", 455, 114, 30, 2),
        ("adult", 32561, 16281, 104, 2),
        ("german", 800, 200, 59, 2),
        ("mnist49", 11791, 1991, 784, 2),
        ("mnist", 60000, 10000, 784, 10),
        ("cifar10_lossless", 4000, 1000, 3072, 10),
        ("covtype_sample", 74369, 18593, 54, 7),
        ("jannis_sample", 24116, 6029, 54, 4),
        ("cancer_libsvm", 500, 183, 10, 2),
        ("digits", 1437, 360, 64, 10),
        ("epsilon_sample", 100, 100, 2000, 2),
    ],
)
def test_sources_have_the_published_sizes(
    name: str, train: int, test: int, columns: int, classes: int, data_root: Path, tmp_path: Path
) -> None:
    from glitchtrace.data.fetch import fetch_data

    folder = tmp_path / "sources" / name
    files = {"features": folder / "features.npy", "labels": folder / "labels.npy"}
    fetch_data(dataset=name, description=folder / "source.json", data_root=data_root, **files)
    problem = load_problem(files["features"], bits=32)
    assert len(problem.truth) == train
    assert len(problem.test_truth) == test
    assert problem.inputs[0].size == columns
    assert problem.classes == classes
    card = registry.card("dataset", name)
    assert (*problem.inputs.shape[1:], problem.classes) == (*card["shape"], card["classes"])
    assert part_sizes(card["rows"], "official") == (train, test)


def test_a_pooled_split_divides_all_rows_as_scikit_learn_does(source: Path) -> None:
    from sklearn.model_selection import train_test_split

    description = json.loads((source.parent / "source.json").read_text())
    write_json(
        description | {"parts": {"train": [0, 100], "test": [100, 150]}}, source.parent / "source.json"
    )
    stored = np.load(source)
    official, pooled = (load_problem(source, split=split) for split in ("official", "pooled"))
    np.testing.assert_array_equal(official.rows, np.arange(100))
    known, tested = train_test_split(np.arange(150), test_size=0.2, random_state=1)
    np.testing.assert_array_equal(pooled.rows, known)
    assert (len(pooled.truth), len(pooled.test_truth)) == part_sizes({"train": 100, "test": 50}, "pooled")
    # Scaled on the rows that are training rows now.
    np.testing.assert_allclose(pooled.inputs.min(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(pooled.inputs.max(axis=0), 1)
    width = np.ptp(stored[known].astype(float), axis=0)
    np.testing.assert_allclose(
        pooled.test_inputs, (stored[tested] - stored[known].min(axis=0)) / width, atol=1e-6
    )


def test_the_split_is_that_of_the_protocol(source: Path, tmp_path: Path) -> None:
    description = json.loads((source.parent / "source.json").read_text())
    write_json(
        description | {"parts": {"train": [0, 100], "test": [100, 150]}}, source.parent / "source.json"
    )
    protocol = {**INTERACTIVE, "known": 30, "iterations": 1000, "epochs": 1, "split": "pooled"}
    trace, _ = job(source, tmp_path, protocol=protocol, negotiator="no_ce", negotiator_settings={})
    assert len(trace) == 1 + 120 - 30


# --- the loop ---------------------------------------------------------------------------------------------------


def loop_of(
    *,
    negotiator: str = "nearest",
    inspector: str = "never",
    threshold: float = 0.0,
    start: Start | None = None,
    classifier: object = None,
    **options: object,
) -> Loop:
    problem = iris()
    return Loop(
        problem,
        start or starts_of(problem)[0],
        classifier=classifier
        or DenseNetwork([4, 3], training=TrainingSettings(epochs=30, learning_rate=0.05)),
        inspector=load_inspector(inspector, threshold, {}),
        negotiator=load_negotiator(negotiator, TOP if negotiator in ("top_fisher", "ce_removal") else {}),
        rng=np.random.RandomState(0),
        training_rng=np.random.default_rng(0),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("negotiator", ["nearest", "random", "top_fisher", "no_ce", "ce_removal"])
def test_counts_of_a_run_fit_together(negotiator: str) -> None:
    loop = loop_of(negotiator=negotiator)
    run(loop, PerfectAnnotator(loop.problem.truth))
    last = loop.state.rows[-1]
    assert len(loop.state.rows) == 21
    assert last["n_queried"] == len(loop.state.questions) > 0
    if negotiator == "no_ce":
        assert last["n_cleaned_ce"] == last["n_cleaned_ex"] == last["case14"] == 0
    elif negotiator == "ce_removal":
        assert last["n_cleaned"] == last["n_cleaned_ex"]
        dropped = 30 + 20 - len(loop.state.known)
        confirmed = sum(
            q["given"] == q["annotated"] and q["counter_example"] >= 0 for q in loop.state.questions
        )
        assert dropped == confirmed
    else:
        assert last["n_cleaned"] == last["n_cleaned_ce"] + last["n_cleaned_ex"]
        assert sum(last[f"case{n}"] for n in range(1, 7)) == last["n_queried"]
    wrong = loop.state.labels != loop.problem.truth
    assert last["n_cleaned"] == (loop.start.labels != loop.problem.truth).sum() - wrong.sum()


def test_the_annotator_that_is_always_trusted_is_never_asked() -> None:
    loop = loop_of(inspector="always")
    assert loop.advance() is None
    assert loop.state.rows[-1]["n_queried"] == 0
    assert len(loop.state.known) == 50


def test_precision_measures_whole_orders_and_fits_once() -> None:
    problem = iris()
    start = starts_of(problem, precision=True)[0]
    loop = loop_of(precision=True, start=start)
    fitted = loop.classifier.snapshot()["parameters"]
    run(loop, PerfectAnnotator(problem.truth))
    np.testing.assert_array_equal(loop.classifier.snapshot()["parameters"], fitted)
    asked = [row for row in loop.state.rows if not np.isnan(row["ce_pr_at_5"])]
    assert len(asked) == loop.state.rows[-1]["n_queried"] > 0
    frozen = loop_of(precision=True, corrects=False, start=start)
    run(frozen, PerfectAnnotator(problem.truth))
    np.testing.assert_array_equal(frozen.state.labels, start.labels)


def test_without_a_candidate_the_sample_is_asked_about_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn:
        classes = 3

        def fit(self, *arguments: object) -> None:
            pass

        def probabilities(self, inputs: np.ndarray) -> np.ndarray:
            return np.tile([0.0, 0.0, 1.0], (len(inputs), 1))

    problem = iris()
    start = starts_of(problem)[0]
    labels = np.where(np.arange(110) % 2, 0, 1)
    with caplog.at_level(logging.WARNING):
        loop = loop_of(
            start=Start(labels, start.known, start.stream), classifier=Stubborn(), negotiator="nearest"
        )
        question = loop.advance()
        assert question is not None
        assert question.counter_example is None
        assert question.pool == (question.example,)
        loop.answer({question.example: 2})
    assert "is asked about alone" in caplog.text
    assert loop.state.questions[0]["counter_example"] == -1
    assert loop.state.rows[-1]["wrong_counter_example"] is False


def test_a_bad_answer_changes_nothing() -> None:
    loop = loop_of()
    with pytest.raises(GlitchtraceError, match="no question is open"):
        loop.answer({})
    question = loop.advance()
    assert question is not None
    before = loop.snapshot()
    for labels, message in (
        ({question.example: 3}, "3 is no class; give a number from 0 to 2"),
        ({question.example: -1}, "-1 is no class"),
        ({question.example: None}, "None is no class"),
        ({10**6: 0}, "sample 1000000 was not asked about"),
    ):
        with pytest.raises(GlitchtraceError, match=message):
            loop.answer(labels)
    assert loop.advance() == question
    assert loop.snapshot()["state"].rows == before["state"].rows
    loop.answer({})
    assert loop.state.labels[question.example] == question.annotated


def test_a_restored_loop_goes_on_as_before() -> None:
    loop = loop_of(negotiator="random")
    perfect = PerfectAnnotator(loop.problem.truth)
    question = loop.advance()
    assert question is not None
    before = loop.snapshot()
    run(loop, perfect)
    first = loop.state.rows
    loop.restore(before)
    assert loop.advance() == question
    run(loop, perfect)
    pd.testing.assert_frame_equal(pd.DataFrame(first), pd.DataFrame(loop.state.rows))


def failing_once(function, at: int):
    """The function, whose call number ``at`` draws from its generator, the last argument, and then fails."""
    calls = 0

    def call(*arguments):
        nonlocal calls
        calls += 1
        if calls == at:
            arguments[-1].random(3)
            raise GlitchtraceError("it fails")
        return function(*arguments)

    return call


@pytest.mark.parametrize("where", ["inspector", "negotiator", "fit in advance", "fit in answer"])
def test_a_step_that_fails_changes_nothing_and_can_be_made_again(where: str) -> None:
    def make() -> Loop:
        # Every other sample is asked about, and both roles draw.
        return loop_of(negotiator="random", inspector="random", threshold=0.5)

    loop = make()
    perfect = PerfectAnnotator(loop.problem.truth)
    run(loop, perfect)
    expected = loop.state
    failing = make()
    if where == "inspector":
        failing.inspector = Inspector(failing_once(failing.inspector.inspect, at=7))
    elif where == "negotiator":
        assert failing.negotiator.rank is not None
        failing.negotiator = Negotiator(failing_once(failing.negotiator.rank, at=2))
    else:
        steps = [row["iteration"] for row in expected.rows[1:]]
        answered = {question["iteration"] for question in expected.questions}
        at = next(step for step in steps if step > 3 and (step in answered) == (where == "fit in answer"))
        failing.classifier.fit = failing_once(failing.classifier.fit, at)  # type: ignore[method-assign]
    failures = 0
    while len(failing.state.rows) <= len(failing.start.stream):
        try:
            run(failing, perfect)
        except GlitchtraceError:
            failures += 1
            # Only where the answer failed, its question is open: it has arrived, but has no row yet.
            arrived, waits = failing.state.position, int(where == "fit in answer")
            assert len(failing.state.known) == 30 + arrived
            assert len(failing.state.rows) == 1 + arrived - waits
            assert failing.state.counts["n_queried"] == len(failing.state.questions) + waits
    assert failures == 1
    pd.testing.assert_frame_equal(pd.DataFrame(expected.rows), pd.DataFrame(failing.state.rows))
    assert failing.state.questions == expected.questions
    assert failing.state.known == expected.known
    np.testing.assert_array_equal(failing.state.labels, expected.labels)


def test_a_run_ends_after_its_questions() -> None:
    loop = loop_of()
    run(loop, PerfectAnnotator(loop.problem.truth), questions=2)
    assert loop.state.rows[-1]["n_queried"] == 2
    assert len(loop.state.rows) < 21


# --- stage, summary, cells --------------------------------------------------------------------------------------


def job(source: Path, folder: Path, **changes: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    options = {
        "model": "logreg",
        "model_settings": {"head_seed": 42},
        "protocol": {**INTERACTIVE, "known": 30, "iterations": 15, "learning_rate": 0.05, "epochs": 20},
        "noise": "random",
        "ratio": "0.2",
        "inspector": "never",
        "inspector_settings": {},
        "threshold": 0.0,
        "negotiator": "top_fisher",
        "negotiator_settings": TOP,
        "seed": 1,
        "repeat": 0,
    }
    trace, questions = folder / "trace.parquet", folder / "questions.parquet"
    clean_interactively(
        features=str(source),
        trace=str(trace),
        questions=str(questions),
        **{**options, **changes},  # type: ignore[arg-type]
    )
    return pd.read_parquet(trace), pd.read_parquet(questions)


def test_the_same_seed_gives_the_same_bytes_and_repeats_differ(source: Path, tmp_path: Path) -> None:
    first = job(source, tmp_path / "a")
    job(source, tmp_path / "b")
    for name in ("trace.parquet", "questions.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = job(source, tmp_path / "c", repeat=1)
    assert not first[0]["f1"].equals(other[0]["f1"])
    trace, questions = first
    assert len(trace) == 16
    assert len(questions) == trace["n_queried"].iloc[-1]
    labels = np.load(source.parent / "labels.npy")
    np.testing.assert_array_equal(questions["true_label"], labels[questions["example"]])
    np.testing.assert_array_equal(questions["given"], questions["true_label"])


@pytest.mark.parametrize("noise", NOISES)
def test_every_noise_runs_through_the_stage(noise: str, source: Path, tmp_path: Path) -> None:
    trace, _ = job(source, tmp_path, noise=noise, negotiator="nearest", negotiator_settings={})
    assert len(trace) == 16


@pytest.mark.parametrize("noise", NOISES)
def test_a_noise_without_a_wrong_label_is_refused_but_for_the_random_one(
    noise: str, source: Path, tmp_path: Path
) -> None:
    # Of 120 training labels 0, or 5: too few for a cluster.
    for ratio in ("clean", "0.04") if noise == "max_margin_cluster" else ("clean",):
        options = {"noise": noise, "ratio": ratio, "negotiator": "nearest", "negotiator_settings": {}}
        if noise == "random":
            assert len(job(source, tmp_path, **options)[0]) == 16
            continue
        with pytest.raises(
            GlitchtraceError, match=r"has a wrong label .* raise the ratio, or take"
        ) as caught:
            job(source, tmp_path / "out", **options)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_the_protocol_says_how_many_wrong_labels_are_unexpected(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = {**INTERACTIVE, "known": 30, "iterations": 2, "epochs": 1}
    assert protocol["tolerance"] == 10
    for tolerance, lines in ((10, 0), (0.1, 1)):
        caplog.clear()
        job(source, tmp_path, protocol={**protocol, "tolerance": tolerance}, ratio="0.19")
        assert caplog.text.count("wrong labels among 32 samples, 6 expected") == lines


def test_a_share_of_all_says_what_is_wrong_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(GlitchtraceError, match="known: 1 means 120 of 120") as caught:
        job(source, tmp_path / "out", protocol={**INTERACTIVE, "known": 1})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_traces_are_gathered_and_told_in_numbers(source: Path, tmp_path: Path) -> None:
    keys = {
        "dataset": "iris",
        "model": "logreg",
        "loop": "interactive",
        "noise": "random",
        "ratio": "0.2",
        "inspector": "never",
        "threshold": "0",
        "negotiator": "top_fisher",
        "seed": "1",
    }
    rows = []
    for repeat in range(3):
        job(source, tmp_path / str(repeat), repeat=repeat)
        rows.append({**keys, "repeat": str(repeat)})
    parts = [str(tmp_path / str(repeat) / "trace.parquet") for repeat in range(3)]
    gather_loops(parts=parts, cells=rows, traces=str(tmp_path / "traces.parquet"))
    summarise_loops(
        traces=[str(tmp_path / "traces.parquet")],
        summary=str(tmp_path / "summary.parquet"),
        table=str(tmp_path / "table.csv"),
    )
    found = numbers(pd.read_parquet(tmp_path / "summary.parquet")).iloc[0]
    each = [pd.read_parquet(part)["f1"].iloc[-1] for part in parts]
    assert found["f1_last"] == pytest.approx(np.mean(each))
    assert found["f1_last_error"] == pytest.approx(np.std(each) / np.sqrt(3))
    assert found["repeats"] == 3
    assert np.isnan(found["f1_50"])
    assert pd.read_csv(tmp_path / "table.csv").iloc[0]["f1_last"] == pytest.approx(np.mean(each), rel=1e-5)


KEYS = {
    "dataset": "iris",
    "model": "logreg",
    "loop": "interactive",
    "noise": "random",
    "ratio": "0.2",
    "inspector": "margin",
    "threshold": "0.2",
    "negotiator": "top_fisher",
}
KINDS = ("inspector", "loop", "model", "negotiator")
SETTINGS = {kind: default_settings(kind) for kind in KINDS}
SETTINGS["loop"] |= {
    "interactive@p": {**INTERACTIVE, "precision": True},
    "interactive@s": {**INTERACTIVE, "asks": False},
    "interactive@one": {**INTERACTIVE, "known": 1},
    "interactive@all": {**INTERACTIVE, "known": 120},
    "interactive@half": {**INTERACTIVE, "known": 0.5},
    "interactive@64": {**INTERACTIVE, "bits": 64},
    "interactive@pooled": {**INTERACTIVE, "known": 12000, "split": "pooled"},
    "interactive@many": {**INTERACTIVE, "known": 12000},
}
SETTINGS["inspector"] |= {
    "signal@nope": {"signal": "NOPE"},
    "influence@exact": {**SETTINGS["inspector"]["influence"], "solver": "exact"},
}
SETTINGS["negotiator"] |= {
    "if@exact": {**SETTINGS["negotiator"]["if"], "solver": "exact"},
    "relatif@exact": {**SETTINGS["negotiator"]["relatif"], "solver": "exact"},
    "full_fisher@97": {**SETTINGS["negotiator"]["full_fisher"], "sample": 97},
    "full_fisher@98": {**SETTINGS["negotiator"]["full_fisher"], "sample": 98},
}
NETWORK = {"dataset": "mnist", "model": "convnet"}


def test_a_legal_run_is_legal() -> None:
    assert cells.illegal(KEYS, SETTINGS) is None
    assert (
        cells.illegal({**KEYS, "inspector": "always", "threshold": "0", "ratio": "clean"}, SETTINGS) is None
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "iris@tenth"}, "write iris, not iris@tenth"),
        ({"dataset": "photo_patches"}, "foreign samples"),
        ({"model": "resnet20", "dataset": "mnist"}, "choose one of convnet, fullnet"),
        ({"model": "convnet"}, "takes image data"),
        ({"ratio": "native"}, "is no share of wrong labels"),
        ({"ratio": "clean", "noise": "outlier"}, "for the noise random only"),
        ({"threshold": "1.5"}, "must be between 0 and 1"),
        ({"threshold": "2e-1"}, "no plain decimal number"),
        ({"inspector": "never"}, r"write thresholds: \[0\]"),
        ({"inspector": "fisher"}, "must be above 1"),
        ({"inspector": "random", "threshold": "1.2"}, "must be a share"),
        ({"loop": "interactive@p", "negotiator": "no_ce"}, "shows none"),
        ({"loop": "interactive@s"}, r"write negotiators: \[no_ce\]"),
        (
            {"inspector": "signal@nope"},
            r"inspectors\.signal@nope\.signal: unknown detector 'NOPE'; known: AAI",
        ),
        ({"loop": "interactive@one"}, r"loops\.interactive@one\.known: 1 means 120 of 120 .* is a share"),
        ({"loop": "interactive@all"}, "known: 120 means 120 of 120"),
        ({"loop": "interactive@many", "dataset": "newsgroups"}, "known: 12000 means 12000 of 11314"),
        ({"loop": "interactive@many", "dataset": "mnist49", "noise": "outlier"}, "12000 of 11791"),
        ({"loop": "interactive@one", "noise": "outlier"}, "known: 1 means 120 of 120"),
        (
            NETWORK | {"negotiator": "if@exact"},
            "at most 5000 parameters, convnet has 515146 on mnist; write cg",
        ),
        (
            {"dataset": "mnist", "model": "fullnet", "negotiator": "relatif@exact"},
            r"negotiators\.relatif@exact\.solver: exact .* 52650",
        ),
        (
            {"dataset": "adult", "model": "fullnet", "inspector": "influence@exact"},
            r"inspectors\.influence@exact\.solver: exact .* 8866",
        ),
        (NETWORK | {"negotiator": "full_fisher"}, r"sample to 97 at most, or take top_fisher"),
        (NETWORK | {"negotiator": "block_fisher"}, "when 200 samples of mnist are known, 4.1 GB"),
        (NETWORK | {"negotiator": "full_fisher@98"}, "980 gradients of 515146 parameters"),
        (NETWORK | {"negotiator": "full_fisher@97", "loop": "interactive@64"}, "sample to 48 at most"),
        ({"dataset": "epsilon", "model": "kernel_logreg"}, "4000000 products of 2000 inputs"),
    ],
)
def test_an_illegal_run_is_refused_with_a_remedy(changes: dict, message: str) -> None:
    problem = cells.illegal({**KEYS, **changes}, SETTINGS)
    assert problem is not None
    assert re.search(message, problem), problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"loop": "interactive@half"},
        {"loop": "interactive@half", "noise": "outlier"},
        {"loop": "interactive@pooled", "dataset": "newsgroups"},
        {"negotiator": "if@exact", "inspector": "influence@exact"},
        {"dataset": "mnist", "model": "fullnet", "negotiator": "full_fisher"},
        NETWORK | {"negotiator": "full_fisher@97"},
        NETWORK | {"negotiator": "if"},
        NETWORK | {"negotiator": "practical_fisher", "loop": "interactive@64"},
        {"dataset": "adult", "model": "kernel_logreg"},
        {"inspector": "signal"},
    ],
)
def test_a_run_within_its_limits_is_legal(changes: dict) -> None:
    assert cells.illegal({**KEYS, **changes}, SETTINGS) is None


def test_cells_are_the_product_with_repeats() -> None:
    block = {axis: [KEYS.get(name, 1)] for axis, name in cells.AXES.items()} | {"repeats": 3}
    found = cells.cells([{**block, "negotiators": ["top_fisher", "no_ce"]}, block], SETTINGS)
    assert len(found) == 6
    assert found[0].wildcards()["repeat"] == "0"
    with pytest.raises(GlitchtraceError, match=r"cincer\[1\]: threshold"):
        cells.cells([block, {**block, "thresholds": ["high"]}], SETTINGS)


def test_a_question_is_answered_about_its_pool() -> None:
    question = Question(1, 1, 4, 0, 1, 7, 1, drops=False)
    assert question.pool == (4, 7)
    assert Question(1, 1, 4, 0, 1, 7, 1, drops=True).pool == (4,)
    truth = np.arange(10) % 3
    assert PerfectAnnotator(truth).labels(question) == {4: 1, 7: 1}
