"""The studies beside the loop: thresholds found from scores, and scores against leaving samples out."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from components import default_settings

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_parquet
from glitchtrace.papers.cincer import cells, figures, leave_one_out, sample_figures
from glitchtrace.papers.cincer.dense import DenseNetwork, softmax
from glitchtrace.papers.cincer.stage import clean_interactively
from glitchtrace.papers.cincer.tables import (
    KEYS,
    arriving,
    correlation_table,
    find_threshold,
    threshold_table,
)

INTERACTIVE = {
    key: fragment["default"] for key, fragment in registry.card("loop", "interactive")["settings"].items()
}


def negotiator(name: str, **changes: Any) -> dict[str, Any]:
    fragments = registry.settings("negotiator", name)
    return {key: fragment["default"] for key, fragment in fragments.items()} | changes


# --- thresholds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_leaves_half_as_many_above_as_labels_are_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 40, 200) / 40  # with equal ones
    ratio = rng.random()
    wanted = int(200 * ratio) // 2
    distances = {score: abs(wanted - int((scores > score).sum())) for score in sorted(set(scores.tolist()))}
    best = min(distances.values())
    assert find_threshold(scores, ratio) == next(t for t, far in distances.items() if far == best)


def test_without_wrong_labels_nothing_is_above_the_threshold() -> None:
    assert find_threshold(np.array([0.3, 0.9, 0.1]), 0.0) == 0.9


def silent_trace(source: Path, folder: Path, **changes: Any) -> pd.DataFrame:
    options: dict[str, Any] = {
        "model": "logreg",
        "model_settings": {"head_seed": 42},
        "protocol": {**INTERACTIVE, "known": 30, "iterations": 40, "epochs": 20, "asks": False},
        "noise": "random",
        "ratio": "0.3",
        "inspector": "margin",
        "inspector_settings": {},
        "threshold": 0.2,
        "negotiator": "no_ce",
        "negotiator_settings": {},
        "seed": 1,
        "repeat": 0,
    } | changes
    folder.mkdir()
    clean_interactively(
        features=str(source),
        trace=str(folder / "trace.parquet"),
        questions=str(folder / "questions.parquet"),
        **options,
    )
    assert pd.read_parquet(folder / "questions.parquet").empty
    keys = {"dataset": "iris", "loop": "interactive@scores", **options}
    table = pd.read_parquet(folder / "trace.parquet")
    return table.assign(**{key: str(keys[key]) for key in [*KEYS, "repeat"]})


def test_a_loop_that_does_not_ask_collects_every_score(source: Path, tmp_path: Path) -> None:
    trace = silent_trace(source, tmp_path / "silent")
    assert trace["n_queried"].max() == trace["n_cleaned"].max() == 0
    scores = arriving(trace)
    assert len(scores) == 40
    assert scores["wrong"].sum() == trace["n_mistakes_seen"].iloc[-1] > 0
    np.testing.assert_array_equal(scores["score"], trace["suspiciousness"].iloc[1:])


def test_thresholds_are_drawn_and_tabulated_by_inspector(source: Path, tmp_path: Path) -> None:
    runs = [silent_trace(source, tmp_path / str(repeat), repeat=repeat) for repeat in range(2)]
    runs.append(silent_trace(source, tmp_path / "always", inspector="always", threshold=0.0))
    write_parquet(pd.concat(runs), tmp_path / "traces.parquet")
    options: dict[str, Any] = {
        "traces": tmp_path / "traces.parquet",
        "figures": [tmp_path / "figure.svg"],
        "table": tmp_path / "table.csv",
    }
    figures.plot_loop_thresholds(loops=["interactive@scores"], **options)
    (row,) = pd.read_csv(tmp_path / "table.csv").to_dict("records")
    scores = arriving(pd.concat(runs[:2]))
    above = scores[scores["score"] > row["threshold"]]
    assert (row["inspector"], row["repeats"], row["samples"]) == ("margin", 2, 80)
    assert row["suspicious"] == pytest.approx(len(above) / 80)
    assert row["precision"] == pytest.approx(above["wrong"].mean())
    assert row["recall"] == pytest.approx(above["wrong"].sum() / scores["wrong"].sum())
    assert threshold_table(scores)["threshold"].item() == pytest.approx(row["threshold"], rel=1e-5)
    assert "label wrong" in (tmp_path / "figure.svg").read_text()
    with pytest.raises(GlitchtraceError, match="use one such as margin"):
        figures.plot_loop_thresholds(loops=["another"], **options)


# --- leaving samples out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
def test_the_optimum_has_no_gradient(classes: int) -> None:
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(40, 5)), rng.integers(0, classes, 40)
    network = DenseNetwork([5, classes], dtype=np.float64)
    leave_one_out.fit_optimum(network, inputs, labels, 40)
    (layer,) = network.layers(network.parameters)
    data = np.hstack([inputs, np.ones((40, 1))])
    residuals = softmax(data @ layer) - np.eye(classes)[labels]
    np.testing.assert_allclose(data.T @ residuals / 40 + leave_one_out.L2 * layer, 0, atol=1e-6)


def measure(source: Path, target: Path, **changes: Any) -> pd.DataFrame:
    options: dict[str, Any] = {
        "model": "logreg",
        "model_settings": {"head_seed": 42},
        "protocol": {**INTERACTIVE, "known": 60, "bits": 64},
        "noise": "random",
        "ratio": "0.2",
        "refit": "optimum",
        "negotiators": {
            "if@exact": negotiator("if", solver="exact", damping=leave_one_out.L2),
            "practical_fisher": negotiator("practical_fisher"),
        },
        "seed": 1,
        "repeat": 0,
    }
    leave_one_out.measure_leave_one_out(features=str(source), changes=str(target), **options | changes)
    return pd.read_parquet(target)


def test_exact_influence_is_the_effect_of_leaving_a_sample_out(source: Path, tmp_path: Path) -> None:
    found = measure(source, tmp_path / "changes.parquet")
    labels = np.load(source.parent / "labels.npy")
    assert found["sample"].between(0, len(labels) - 1).all()
    assert 0 < found["wrong"].sum() < len(found)
    exact = found[found["negotiator"] == "if@exact"]
    # The score is of the probability p, the change of the loss: p · n is one number for all samples.
    ratio = exact["score"] / exact["loss_change"]
    assert ratio.std() / ratio.mean() < 0.05
    # To first order, −log p changes by score / (p n), p < 1.
    assert ratio.mean() < 60
    other = measure(source, tmp_path / "again.parquet")
    pd.testing.assert_frame_equal(found, other)


def test_a_trained_model_is_trained_again_without_each_sample(source: Path, tmp_path: Path) -> None:
    protocol = {**INTERACTIVE, "known": 30, "epochs": 3}
    found = measure(source, tmp_path / "changes.parquet", refit="training", protocol=protocol)
    assert found["loss_change"].std() > 0
    assert np.isfinite(found["score"]).all()


def test_changes_leave_the_model_fitted_to_all() -> None:
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(30, 4)), rng.integers(0, 2, 30)
    network = DenseNetwork([4, 2], dtype=np.float64)

    def fit(rows: np.ndarray) -> None:
        leave_one_out.fit_optimum(network, inputs[rows], labels[rows], 30)

    fit(np.arange(30))
    before = network.parameters.copy()
    query = leave_one_out.misclassified(
        network, inputs, labels, inputs, 1 - network.probabilities(inputs).argmax(1)
    )
    assert query.predicted != query.annotated
    changes = leave_one_out.loss_changes(network, fit, query, query.candidates[:3])
    assert (changes != 0).all()
    np.testing.assert_array_equal(network.parameters, before)


def test_a_model_without_mistakes_cannot_be_studied() -> None:
    inputs = np.random.default_rng(0).normal(size=(10, 3))
    network = DenseNetwork([3, 2])
    right = network.probabilities(inputs).argmax(axis=1)
    with pytest.raises(GlitchtraceError, match="raise the ratio of wrong labels"):
        leave_one_out.misclassified(network, inputs, right, inputs, right)
    with pytest.raises(GlitchtraceError, match="raise known"):
        leave_one_out.misclassified(network, inputs[:1], 1 - right[:1], inputs[:1], 1 - right[:1])


def test_scores_and_changes_are_drawn_with_their_rank_correlation(source: Path, tmp_path: Path) -> None:
    keys = {"dataset": "iris", "model": "logreg", "loop": "interactive", "noise": "random"}
    keys |= {"ratio": "0.2", "refit": "optimum", "seed": "1"}
    parts = [
        measure(source, tmp_path / f"{repeat}.parquet", repeat=repeat).assign(**keys, repeat=str(repeat))
        for repeat in range(2)
    ]
    write_parquet(pd.concat(parts), tmp_path / "all.parquet")
    sample_figures.plot_loop_influence(
        changes=tmp_path / "all.parquet", figures=[tmp_path / "figure.svg"], table=tmp_path / "table.csv"
    )
    table = pd.read_csv(tmp_path / "table.csv").set_index("negotiator")
    assert table.loc["if@exact", "spearman_least"] > 0.98
    assert table.loc["if@exact", "repeats"] == 2
    constant = parts[0].assign(score=1.0)
    assert np.isnan(correlation_table(constant)["spearman"]).all()
    for one in (constant, constant.assign(repeat="2")):  # before and after the repeat that has one
        half = correlation_table(pd.concat([one, parts[1]]))
        assert half[["spearman", "spearman_least"]].isna().all(axis=None)
    assert "true change of the loss" in (tmp_path / "figure.svg").read_text()


SETTINGS = {kind: default_settings(kind) for kind in ("loop", "model", "negotiator")}
SETTINGS["loop"]["interactive@warm"] = {**INTERACTIVE, "warm_start": True}
SETTINGS["loop"]["interactive@one"] = {**INTERACTIVE, "known": 1}
SETTINGS["negotiator"] |= {
    "if@published": {**SETTINGS["negotiator"]["if"], "draws": "all"},
    "if@exact": {**SETTINGS["negotiator"]["if"], "solver": "exact"},
}


def influence_block(**changes: Any) -> dict[str, Any]:
    block = {"datasets": ["iris"], "models": ["logreg"], "loops": ["interactive"], "noises": ["random"]}
    block |= {"ratios": ["0.2"], "refits": ["optimum"], "seeds": [1], "repeats": 2}
    return block | {"negotiators": ["if", "top_fisher"]} | changes


IMAGES = {"datasets": ["mnist"], "models": ["convnet"], "refits": ["training"]}


def test_blocks_of_one_cell_are_joined() -> None:
    found = cells.influence_cells(
        [influence_block(negotiators=["top_fisher"]), influence_block(negotiators=["if"], repeats=1)],
        SETTINGS,
    )
    first, second = found
    assert (first[-1], second[-1]) == ("0", "1")
    assert list(found.values()) == [["if", "top_fisher"], ["top_fisher"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"negotiators": ["no_ce"]}, "gives no scores"),
        ({"negotiators": ["random"]}, "gives no scores"),
        ({"negotiators": ["if@published"]}, "set draws: known"),
        ({"models": ["fullnet"]}, r"write refits: \[training\]"),
        ({"models": ["convnet"], "refits": ["training"]}, "takes image data"),
        ({"loops": ["interactive@warm"], "refits": ["training"]}, "set its warm_start to false"),
        ({"loops": ["interactive@one"]}, "known: 1 means 120 of 120"),
        (IMAGES | {"negotiators": ["if@exact"]}, "convnet has 515146 on mnist; write cg"),
        (IMAGES | {"negotiators": ["full_fisher"]}, "when 100 samples of mnist are known"),
    ],
)
def test_an_illegal_study_is_refused_with_a_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GlitchtraceError, match=rf"cincer_influence\[0\]: .*{message}"):
        cells.influence_cells([influence_block(**changes)], SETTINGS)


def test_every_costly_rule_leaves_a_record_beside_its_files() -> None:
    text = (Path(__file__).parents[2] / "workflow/rules/papers/cincer.smk").read_text()
    costly = [rule for rule in re.split(r"\n(?=rule )", text) if "    benchmark:\n" in rule]
    assert len(costly) == 2
    for rule in costly:
        assert re.search(r"\n        record=paths\.record\(", rule), rule.splitlines()[0]
