"""Figures and tables of single studies: ratios, epochs, clustered anomalies, dirty validation, label repair."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import load_cell
from glitchtrace.detectors.evidence import detect
from glitchtrace.detectors.stage import read_evidence
from glitchtrace.evaluation.detection import f1_known_ratio
from glitchtrace.evaluation.epochs import SIGNALS, evaluate_epochs
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.stage import inject_glitch
from glitchtrace.influence.profile import ClassProfile, Profiles, save_profiles
from glitchtrace.papers.glitches import figures as glitch_figures
from glitchtrace.papers.glitches.clustered import tabulate_clustered
from glitchtrace.reporting import style
from glitchtrace.reporting.figures import curves, label_repair
from glitchtrace.training import cross_fitting as cross_validation
from glitchtrace.training.cross_fitting import cross_fit, folds_of

CELL = {"dataset": "mnist", "model": "resnet20", "glitch": "uniform", "ratio": "0.1", "estimator": "tracin"}


def write(frame: pd.DataFrame, path: Path) -> Path:
    files.write_parquet(frame, path)
    return path


def outputs(folder: Path, stem: str) -> dict[str, Any]:
    return {"figures": [folder / f"{stem}.{e}" for e in ("svg",)], "table": folder / f"{stem}.csv"}


def lines_of(axes: Any) -> list[np.ndarray]:
    return [line.get_ydata() for line in axes.lines if len(line.get_ydata())]


# --- F1 against the ratio and the epoch ----------------------------------------------------------------------


def ratio_rows(
    models: tuple[str, ...] = ("tabular_mlp", "tabular_resnet", "ft_transformer"), seeds: int = 3
) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {**CELL, "model": m, "ratio": r, "seed": s, "signal": signal, "metric": "f1", "value": rng.uniform()}
        for m in models
        for r in ("0.01", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3")
        for s in range(seeds)
        for signal in ("SI", "MI", "AAI", "GD_class", "CNCI", "PCID", "CFRank", "NIL")
    )


def test_ratios_are_drawn_and_tabulated_as_means_over_seeds(tmp_path):
    rows = ratio_rows(("resnet20",))
    summary = write(rows, tmp_path / "summary.parquet")
    arguments = {"summary": summary, "dataset": "mnist", "glitch": "uniform"}
    curves.plot_ratios(**arguments, **outputs(tmp_path, "a"))
    curves.plot_ratios(**arguments, **outputs(tmp_path, "b"))
    for suffix in ("svg", "csv"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    table = pd.read_csv(tmp_path / "a.csv")
    assert len(table) == 7 * 7
    found = table[(table["signal"] == "SI") & (table["ratio"] == 0.05)]
    expected = rows[(rows["signal"] == "SI") & (rows["ratio"] == "0.05")]
    assert found["mean"].item() == pytest.approx(expected["value"].mean(), rel=1e-5)


def test_each_model_has_a_panel_with_a_line_per_signal():
    rows = ratio_rows(("tabular_resnet", "tabular_mlp", "ft_transformer"))
    values = rows[rows["signal"].isin(curves.LINES)].assign(percent=100 * rows["ratio"].astype(float))
    figure = curves.draw_curves(values, x="percent", xlabel="x", ylabel="y", title="t")
    assert [axes.get_title() for axes in figure.axes] == ["FT-Transformer", "MLP", "ResNet"]
    for model, axes in zip(("ft_transformer", "tabular_mlp", "tabular_resnet"), figure.axes, strict=True):
        means = rows[rows["model"] == model].groupby(["signal", "ratio"])["value"].mean()
        for line, signal in zip(lines_of(axes), curves.LINES, strict=False):
            np.testing.assert_allclose(line, means[signal])


def test_a_glitch_without_cells_is_one_line(tmp_path):
    summary = write(ratio_rows(), tmp_path / "summary.parquet")
    with pytest.raises(GlitchtraceError, match="has no f1 of mnist, far_anomalies; add such cells"):
        curves.plot_ratios(summary=summary, dataset="mnist", glitch="far_anomalies", **outputs(tmp_path, "a"))


def test_epochs_are_drawn_per_model(tmp_path):
    rng = np.random.default_rng(0)
    paths, cells = [], []
    for seed in range(3):
        rows = [(epoch, signal, rng.uniform()) for epoch in range(1, 11) for signal in SIGNALS]
        frame = pd.DataFrame(rows, columns=["epoch", "signal", "f1"])
        paths.append(write(frame, tmp_path / f"{seed}.parquet"))
        cells.append({**CELL, "seed": str(seed)})
    curves.plot_epochs(
        epochs=paths, cells=cells, dataset="mnist", glitch="uniform", **outputs(tmp_path, "epochs")
    )
    table = pd.read_csv(tmp_path / "epochs.csv")
    assert len(table) == 10 * len(SIGNALS)
    assert set(table["n"]) == {3}
    assert (tmp_path / "epochs.svg").stat().st_size > 1000


def profiles(samples: int = 20, epochs: int = 3, first: int = 1) -> Profiles:
    rng = np.random.default_rng(0)

    def profile() -> ClassProfile:
        shape = (samples, 2)
        return ClassProfile(
            positive=rng.uniform(size=shape).astype(np.float32),
            negative=-rng.uniform(size=shape).astype(np.float32),
            positive_count=np.full(shape, 3, dtype=np.int32),
            negative_count=np.full(shape, 4, dtype=np.int32),
        )

    return Profiles(
        classes=np.array([0, 1]),
        labels=np.arange(samples) % 2,
        validation_counts=np.array([7, 7]),
        self_influence=rng.uniform(size=samples),
        cumulative=profile(),
        per_epoch={first + epoch: profile() for epoch in range(epochs)},
        self_influence_per_epoch=rng.uniform(size=(epochs, samples)),
        negative_label=np.zeros(samples, dtype=np.int64),
        counterfactual_negative=profile(),
        positive_label=np.ones(samples, dtype=np.int64),
        counterfactual_positive=profile(),
    )


@pytest.mark.parametrize("first", [1, 4])
def test_f1_per_epoch_is_that_of_each_checkpoint_alone(first, tmp_path):
    found = profiles(first=first)
    save_profiles(found, tmp_path / "profile.safetensors")
    kinds = np.where(np.arange(20) < 5, Kind.MISLABELLED, Kind.CLEAN)
    write(pd.DataFrame({"kind": kinds.astype(np.int8)}), tmp_path / "glitch.parquet")
    evaluate_epochs(
        profile=tmp_path / "profile.safetensors",
        glitch=tmp_path / "glitch.parquet",
        epochs=tmp_path / "epochs.parquet",
    )
    table = pd.read_parquet(tmp_path / "epochs.parquet").set_index(["epoch", "signal"])["f1"]
    for position, (epoch, profile) in enumerate(found.per_epoch.items()):
        total = profile.positive.astype(float) + profile.negative
        size = profile.positive.astype(float) - profile.negative
        expected = {
            "SI": found.self_influence_per_epoch[position],
            "MI": total.sum(axis=1),
            "AAI": size.sum(axis=1),
            "GD_class": -total.min(axis=1),
        }
        for signal, scores in expected.items():
            assert table[epoch, signal] == f1_known_ratio(scores, kinds > 0)


@pytest.mark.parametrize(
    ("epochs", "rows", "message"), [(0, 20, "holds nothing per epoch"), (2, 19, "describe different samples")]
)
def test_a_profile_without_epochs_or_of_other_samples_is_refused(epochs, rows, message, tmp_path):
    found = profiles(epochs=epochs)
    save_profiles(found, tmp_path / "profile.safetensors")
    write(pd.DataFrame({"kind": np.zeros(rows, dtype=np.int8)}), tmp_path / "glitch.parquet")
    with pytest.raises(GlitchtraceError, match=message):
        evaluate_epochs(
            profile=tmp_path / "profile.safetensors",
            glitch=tmp_path / "glitch.parquet",
            epochs=tmp_path / "epochs.parquet",
        )


# --- self influence against accuracy -----------------------------------------------------------------------------


def test_groups_are_tenths_of_self_influence_and_the_flagged():
    rng = np.random.default_rng(0)
    scores, fitted = rng.permutation(57).astype(float), rng.uniform(size=57)
    kinds = np.where(rng.uniform(size=57) < 0.2, Kind.MISLABELLED, Kind.CLEAN)
    table = glitch_figures.group_samples(scores, kinds, fitted).set_index(["group", "kind"])
    for group in range(1, 11):
        inside = (scores >= np.ceil((group - 1) * 5.7)) & (scores < np.ceil(group * 5.7))
        for kind in (Kind.CLEAN, Kind.MISLABELLED):
            row, same = table.loc[str(group), kind.label], inside & (kinds == kind)
            assert row["count"] == same.sum()
            assert row["share"] == pytest.approx(same.sum() / inside.sum())
            np.testing.assert_allclose(row["accuracy"], fitted[same].mean() if same.any() else np.nan)
    flagged = scores >= 57 - (kinds > 0).sum()
    row = table.loc["flagged", "clean"]
    assert row["count"] == (flagged & (kinds == 0)).sum()
    assert row["accuracy"] == pytest.approx(fitted[flagged & (kinds == 0)].mean())


def self_influence_files(folder: Path, seed: int, labels: int = 40) -> tuple[Path, Path, Path]:
    rng = np.random.default_rng(seed)
    kinds = np.repeat([Kind.CLEAN, Kind.MISLABELLED], [30, 10]).astype(np.int8)
    write(pd.DataFrame({"SI": rng.uniform(size=40) + kinds}), folder / f"signals-{seed}.parquet")
    write(pd.DataFrame({"kind": kinds}), folder / f"glitch-{seed}.parquet")
    parts = {
        f"{part}/{name}": value
        for part, size in (("train", labels), ("validation", 4))
        for name, value in (
            ("features", rng.normal(size=(size, 2)).astype(np.float32)),
            ("labels", np.zeros(size, dtype=np.int64)),
            # The observed label is the likeliest after the first epoch alone.
            ("probabilities/001", np.tile(np.float32([0.9, 0.1]), (size, 1))),
            ("probabilities/002", np.tile(np.float32([0.2, 0.8]), (size, 1))),
        )
    }
    rest = {"learning_rates": np.array([0.1, 0.1]), "batch_size": np.array([4])}
    files.write_tensors({**rest, **parts}, folder / f"factors-{seed}.safetensors")
    return tuple(
        folder / f"{name}-{seed}.{suffix}"
        for name, suffix in (("signals", "parquet"), ("glitch", "parquet"), ("factors", "safetensors"))
    )


def draw_self_influence(folder: Path, paths: list[tuple[Path, ...]], stem: str) -> None:
    signals, glitches, factors = zip(*paths, strict=True)
    glitch_figures.plot_self_influence(
        scores=signals,
        glitches=glitches,
        factors=factors,
        cells=[{**CELL, "seed": str(seed)} for seed in range(len(paths))],
        dataset="mnist",
        glitch="uniform",
        **outputs(folder, stem),
    )


def test_self_influence_is_drawn_and_tabulated_over_seeds(tmp_path):
    paths = [self_influence_files(tmp_path, seed) for seed in range(3)]
    draw_self_influence(tmp_path, paths, "a")
    draw_self_influence(tmp_path, paths, "b")
    for suffix in ("svg", "csv"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    table = pd.read_csv(tmp_path / "a.csv").set_index(["group", "kind", "metric"])
    assert table.loc[("10", "mislabelled", "accuracy"), "mean"] == 0.5
    assert table.loc[("10", "mislabelled", "share"), "mean"] == 1
    assert table.loc[("flagged", "clean", "count"), "mean"] == 0
    assert table.loc[("10", "mislabelled", "share"), "n"] == 3


def test_files_of_different_samples_are_refused(tmp_path):
    with pytest.raises(GlitchtraceError, match="describe different samples; delete them"):
        draw_self_influence(tmp_path, [self_influence_files(tmp_path, 0, labels=39)], "a")


# --- clustered anomalies -------------------------------------------------------------------------------------


def test_accuracy_on_clustered_anomalies_stands_beside_that_on_others(tmp_path):
    rows = [
        {**CELL, "glitch": glitch, "seed": seed, "signal": "", "metric": metric, "value": value + 0.02 * seed}
        for glitch, metric, value in (
            ("near_anomalies", "validation_accuracy", 0.7),
            ("near_anomalies", "training_accuracy_clean", 0.8),
            ("near_anomalies", "training_accuracy_anomalous", 0.1),
            ("near_anomalies", "training_loss_anomalous", 3.0),
            ("uniform", "validation_accuracy", 0.9),
        )
        for seed in range(2)
    ]
    summary = write(pd.DataFrame(rows), tmp_path / "summary.parquet")
    tabulate_clustered(summary=summary, table=tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    assert list(table["glitch"]) == ["near_anomalies"] * 3
    assert list(table["samples"]) == [
        "accuracy on anomalies",
        "accuracy on clean samples",
        "accuracy on validation samples",
    ]
    np.testing.assert_allclose(table["mean"], [0.11, 0.81, 0.71])
    assert list(table["n"]) == [2, 2, 2]
    clean = write(pd.DataFrame(rows[-1:]), tmp_path / "clean.parquet")
    with pytest.raises(GlitchtraceError, match="has no cell with anomalies"):
        tabulate_clustered(summary=clean, table=tmp_path / "other.csv")


# --- dirty validation ----------------------------------------------------------------------------------------


def dirty_rows(datasets: tuple[str, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {**CELL, "dataset": d, "seed": s, "signal": signal, "metric": "f1", "value": rng.uniform()}
        for d in datasets
        for s in range(3)
        for signal in ("CNCI", "SI")
    )


def test_cells_are_paired_by_everything_but_the_validation_set(tmp_path):
    rows = dirty_rows(("mnist@clean_validation", "mnist@dirty_validation", "fmnist@clean_validation"))
    pairs = glitch_figures.dirty_pairs(rows, "CNCI")
    assert list(pairs["dataset"]) == ["mnist"] * 3
    cnci = rows[rows["signal"] == "CNCI"].set_index(["dataset", "seed"])["value"]
    np.testing.assert_array_equal(pairs["clean"], cnci["mnist@clean_validation"])
    np.testing.assert_array_equal(pairs["dirty"], cnci["mnist@dirty_validation"])
    figure = glitch_figures.draw_dirty_validation(pairs, "CNCI")
    diagonal, marks = figure.axes[0].lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    np.testing.assert_array_equal(marks.get_xdata(), pairs["clean"])
    summary = write(rows, tmp_path / "summary.parquet")
    glitch_figures.plot_dirty_validation(summary=summary, **outputs(tmp_path, "dirty"))
    assert len(pd.read_csv(tmp_path / "dirty.csv")) == 3


def test_a_study_without_a_pair_is_refused(tmp_path):
    summary = write(dirty_rows(("mnist@clean_validation",)), tmp_path / "summary.parquet")
    with pytest.raises(GlitchtraceError, match="no dataset with both a variant @clean_validation"):
        glitch_figures.plot_dirty_validation(summary=summary, **outputs(tmp_path, "dirty"))


# --- label repair beside confident learning ------------------------------------------------------------------


@pytest.mark.parametrize(("samples", "folds"), [(23, 5), (100, 5), (7, 2)])
def test_folds_are_of_equal_size_and_stratified(samples, folds):
    labels = np.random.default_rng(0).integers(0, 3, samples)
    fold = folds_of(labels, folds, seed=1)
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in range(3):
        shares = np.bincount(fold[labels == label], minlength=folds)
        assert shares.max() - shares.min() <= 1
    np.testing.assert_array_equal(fold, folds_of(labels, folds, seed=1))
    assert (fold != folds_of(labels, folds, seed=2)).any()


@pytest.fixture
def cell(tmp_path) -> dict[str, Any]:
    """Three well separated classes under the name iris, with uniform label noise of 10 %."""
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    files.write_npy(
        (rng.normal(size=(150, 3)) + 4 * np.eye(3)[labels]).astype(np.float32), tmp_path / "iris/features.npy"
    )
    files.write_npy(labels, tmp_path / "iris/labels.npy")
    files.write_json(
        {"modality": "table", "classes": ["a", "b", "c"], "parts": {"all": [0, 150]}},
        tmp_path / "iris/source.json",
    )
    part = ["train"] * 120 + ["validation"] * 20 + ["test"] * 10
    write(pd.DataFrame({"row": np.arange(150), "part": part, "label": labels}), tmp_path / "split.parquet")
    inject_glitch(
        split=tmp_path / "split.parquet",
        labels=[tmp_path / "iris/labels.npy"],
        descriptions=[tmp_path / "iris/source.json"],
        glitch=tmp_path / "glitch.parquet",
        dataset="iris",
        name="uniform",
        ratio="0.1",
        seed=0,
        settings={},
    )
    return {
        "features": [tmp_path / "iris/features.npy"],
        "split": tmp_path / "split.parquet",
        "glitch": tmp_path / "glitch.parquet",
        "dataset": "iris",
    }


TRAINING = {"learning_rate": 0.5, "batch_size": 16, "epochs": 10}


def test_confident_learning_finds_wrong_labels_and_the_true_ones(cell, tmp_path):
    cross_fit(
        **cell,
        out_of_fold=tmp_path / "out_of_fold.safetensors",
        model="linear",
        settings={"head_seed": 42},
        training=TRAINING,
        seed=0,
        evaluation_batch=50,
    )
    evidence = read_evidence(glitch=cell["glitch"], out_of_fold=[tmp_path / "out_of_fold.safetensors"])
    found, samples = detect("confident_learning", evidence), pd.read_parquet(cell["glitch"])
    wrong = (samples["kind"] == Kind.MISLABELLED).to_numpy()
    assert f1_known_ratio(found.scores, wrong) > 0.9
    assert (found.proposed_labels == samples["true_label"]).mean() > 0.95
    assert found.flags[wrong].mean() > 0.8


def test_probabilities_of_a_fold_do_not_depend_on_its_own_labels(cell, monkeypatch):
    problem = load_cell(**cell, view="vector")
    fold = np.arange(120) % 5
    monkeypatch.setattr(cross_validation, "folds_of", lambda *_: fold)
    options = {
        "model": "linear",
        "settings": {"head_seed": 42},
        "training": TRAINING,
        "seed": 0,
        "evaluation_batch": 50,
    }
    first = cross_validation.cross_validate(problem, **options)
    np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-5)
    labels = np.where(fold == 2, (problem.train_labels + 1) % 3, problem.train_labels)
    other = cross_validation.cross_validate(dataclasses.replace(problem, train_labels=labels), **options)
    np.testing.assert_array_equal(other[fold == 2], first[fold == 2])
    assert (other[fold != 2] != first[fold != 2]).any()


def repair_files(folder: Path, seed: int) -> tuple[Path, Path]:
    rng = np.random.default_rng(seed)
    truth = np.arange(40) % 4
    labels = truth.copy()
    labels[:8] = (labels[:8] + 1) % 4
    kind = np.where(np.arange(40) < 8, Kind.MISLABELLED, Kind.CLEAN).astype(np.int8)
    glitch = write(
        pd.DataFrame({"label": labels, "true_label": truth, "kind": kind}), folder / f"g{seed}.parquet"
    )
    scored = {
        "label": labels,
        "CNCI": rng.uniform(size=40),
        "confident_learning": np.where(np.arange(40) < 8, 1.0, 0.0),
        "confident_learning/proposed_label": truth,
        "confident_learning/flagged": np.arange(40) < 16,
        "proposed_label": np.where(np.arange(40) < 6, truth, 3 - truth),
    }
    return write(pd.DataFrame(scored), folder / f"s{seed}.parquet"), glitch


def test_label_repair_is_measured_over_all_mislabelled_samples(tmp_path):
    paths = [repair_files(tmp_path, seed) for seed in range(2)]
    found = {(row["method"], row["measure"]): row["value"] for row in label_repair.measure(*paths[0])}
    assert found["CNCI", "label_repair_accuracy"] == 6 / 8
    assert found["confident learning", "label_repair_accuracy"] == 1
    assert found["confident learning", "f1"] == 1
    assert found["confident learning", "f1_own_choice"] == 2 * 8 / (16 + 8)
    scores, glitches = zip(*paths, strict=True)
    cells = [{**CELL, "seed": str(seed)} for seed in range(2)]
    arguments = {"scores": scores, "glitches": glitches, "cells": cells}
    label_repair.plot_label_repair(**arguments, **outputs(tmp_path, "repair"))
    table = pd.read_csv(tmp_path / "repair.csv")
    assert len(table) == 5
    assert set(table["n"]) == {2}
    figure = label_repair.draw_label_repair(table.astype({"ratio": str}))
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([0.75, 1.0])


def test_label_repair_of_two_estimators_has_a_line_for_each(tmp_path):
    paths = [repair_files(tmp_path, 0)] * 2
    scores, glitches = zip(*paths, strict=True)
    cells = [{**CELL, "seed": "0", "estimator": name} for name in ("tracin", "influence_functions")]
    arguments = {"scores": scores, "glitches": glitches, "cells": cells}
    label_repair.plot_label_repair(**arguments, **outputs(tmp_path, "repair"))
    figure = label_repair.draw_label_repair(pd.read_csv(tmp_path / "repair.csv").astype({"ratio": str}))
    told = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    assert [[name in line for name in ("Koh & Liang", "TracIn")] for line in told] == [
        [True, False],
        [False, True],
    ]


@pytest.mark.parametrize("several", [False, True])
def test_self_influence_says_what_is_flagged_of_each_estimator(several):
    """All that is flagged is a glitch: nothing clean is fitted, or not."""
    kinds = np.where(np.arange(40) < 4, Kind.MISLABELLED, Kind.CLEAN)
    found = glitch_figures.group_samples(40.0 - np.arange(40), kinds, np.full(40, 0.5))
    half = glitch_figures.group_samples(np.abs(np.arange(40) - 3.4), kinds, np.full(40, 0.5))
    names = ("influence_functions", "tracin") if several else ("tracin",)
    rows = [
        part.assign(**{**CELL, "estimator": name}, seed=0)
        for name, part in zip(names, (found, half), strict=False)
    ]
    figure = glitch_figures.draw_groups(pd.concat(rows, ignore_index=True), "mnist", "uniform")
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes]
    if several:
        assert titles[0] == "ResNet-20, Koh & Liang, 10 %; clean among the flagged: 0%"
        expected = "ResNet-20, TracIn, 10 %; clean among the flagged: 100%, fitted in 50% of the epochs"
        assert titles[2] == expected
    else:
        assert titles[0] == "ResNet-20, 10 %; clean among the flagged: 0%"


def test_tables_of_different_samples_are_refused(tmp_path):
    scores, glitch = repair_files(tmp_path, 0)
    write(pd.read_parquet(scores).iloc[:-1], scores)
    with pytest.raises(GlitchtraceError, match="describe different samples; delete"):
        label_repair.measure(scores, glitch)


def test_a_cell_without_confident_learning_is_one_line(tmp_path):
    scores, glitch = repair_files(tmp_path, 0)
    write(pd.read_parquet(scores).drop(columns="confident_learning"), scores)
    with pytest.raises(GlitchtraceError, match="has no detector 'confident_learning'; add it to 'detectors'"):
        label_repair.measure(scores, glitch)


def test_every_drawn_signal_has_a_name_and_a_line_of_its_own():
    assert len({(marker, str(dashes)) for _, marker, dashes in curves.LINES.values()}) == len(curves.LINES)
    assert len({colour for colour, _, _ in curves.LINES.values()}) == len(curves.LINES)
    for name in curves.LINES:
        assert style.human_name("detector", name)
