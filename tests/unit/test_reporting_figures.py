"""The figures: what they show, where their text lies, and what they refuse."""

import importlib
import inspect
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_string
from jinja2 import Environment, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT, CARETRIGHT
from matplotlib.text import Text

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors import influence_signals
from glitchtrace.evaluation.statistics import compare
from glitchtrace.papers.glitches import figures as glitch_figures
from glitchtrace.reporting import style
from glitchtrace.reporting.figures import (
    characterisation,
    cost,
    curves,
    gain,
    history,
    label_repair,
    signals,
)

CAPTIONS = Path(__file__).parents[2] / "workflow/report"
ALL_SIGNALS = tuple(sorted(influence_signals.CARDS))
FOUR_GLITCHES = (
    ("class_dependent@all_classes", "0.1"),
    ("far_anomalies", "0.05"),
    ("mixture@mu_ua", "native"),
    ("uniform", "0.1"),
)


def cells(
    datasets: tuple[str, ...] = ("mnist",),
    models: tuple[str, ...] = ("resnet20",),
    glitches: tuple[tuple[str, str], ...] = (("uniform", "0.1"),),
    seeds: int = 3,
    estimators: tuple[str, ...] = ("tracin",),
) -> list[dict[str, Any]]:
    return [
        {"dataset": d, "model": m, "glitch": g, "ratio": r, "estimator": e, "seed": s}
        for d, m, (g, r), e, s in itertools.product(datasets, models, glitches, estimators, range(seeds))
    ]


def detection_summary(names: tuple[str, ...] = ("SI", "CNCI", "PCID"), **axes: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for cell in cells(**axes):
        rows.append({**cell, "signal": "", "metric": "contamination", "value": 0.1})
        for name in names:
            value = 0.0 if name == "PCID" else rng.uniform(0.5, 1)
            rows.append({**cell, "signal": name, "metric": "f1", "value": value})
            rows.append({**cell, "signal": name, "metric": "f1_published", "value": value / 2})
    return pd.DataFrame(rows)


def mixed_summary(**axes: Any) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    kinds = ("clean", "mislabelled", "anomalous")
    rows = []
    for cell in cells(glitches=(("mixture@mu_ua", "native"),), **axes):
        counts = np.array([[5300, 60, 40], [40, 550, 10], [100, 20, 480]]) + rng.integers(0, 9, (3, 3))
        for i, true in enumerate(kinds):
            for j, said in enumerate(kinds):
                rows.append({**cell, "metric": f"confusion_{true}_{said}", "value": float(counts[i, j])})
            if i:
                detected = counts[i, 1:].sum()
                accuracy = counts[i, i] / detected
                rows.append({**cell, "metric": f"characterisation_count_{true}", "value": float(detected)})
                rows.append({**cell, "metric": f"characterisation_accuracy_{true}", "value": accuracy})
    return pd.DataFrame(rows).assign(signal="CFRank")


def gain_rows(**axes: Any) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    changes = {"none": 0.0, "random": -0.01, "influence": 0.02, "oracle": 0.03}
    return pd.DataFrame(
        {**cell, "policy": policy, "part": part, "accuracy": 0.9 + change + rng.normal(0, 0.004)}
        for cell in cells(**axes)
        for part in ("validation", "test")
        for policy, change in changes.items()
    )


def history_rows(kinds: tuple[str, ...] = ("clean", "mislabelled"), epochs: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    curves = [("train", "all"), *(("train", kind) for kind in kinds), ("validation", "all")]
    return pd.DataFrame(
        {"epoch": epoch, "part": part, "kind": kind, "accuracy": rng.uniform(), "loss": rng.uniform(0, 3)}
        for epoch in range(1, epochs + 1)
        for part, kind in curves
    ).assign(model="linear", glitch="uniform", ratio="0.1", seed=0)


def cost_rows(**axes: Any) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    stages = ("retrain", "train", "compute_influence", "a_stage_of_mine", "prepare_data", "detect")
    rows = [
        {**cell, "stage": stage, "cpu_seconds": rng.uniform(1, 50)}
        for cell in cells(**axes)
        for stage in stages
    ]
    return pd.DataFrame(rows).assign(seconds=1.0, peak_mib=500.0)


# --- text that can be read ---------------------------------------------------------------------------------


def visible_texts(figure: Figure) -> list[Text]:
    """The texts of a drawn figure but those of hidden panels and of ticks outside the view."""
    hidden = {tick for axes in figure.axes for tick in texts_that_are_not_drawn(axes)}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in hidden
    ]


def texts_that_are_not_drawn(axes: Axes) -> list[Text]:
    if not axes.get_visible():
        return axes.findobj(Text)
    hidden = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
        hidden += [text for tick in ticks for text in tick.findobj(Text)]
    return hidden


def assert_legible(figure: Figure) -> None:
    """Every text lies inside the figure and covers no other."""
    with style.styled():
        figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in visible_texts(figure)]
    assert boxes
    for name, box in boxes:
        assert box.x0 >= -0.5, name
        assert box.y0 >= -0.5, name
        assert box.x1 <= figure.bbox.x1 + 0.5, name
        assert box.y1 <= figure.bbox.y1 + 0.5, name
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across <= 0.5 or along <= 0.5, (first, second)


def test_the_check_of_legibility_can_fail() -> None:
    figure = style.new_figure(2, 2)
    figure.text(0.5, 0.5, "one")
    figure.text(0.5, 0.51, "other")
    with pytest.raises(AssertionError, match="one"):
        assert_legible(figure)
    figure = style.new_figure(2, 2)
    figure.text(0.9, 0.5, "leaves the figure")
    with pytest.raises(AssertionError, match="leaves"):
        assert_legible(figure)


@pytest.mark.parametrize(
    "axes",
    [
        {},
        {"seeds": 1, "models": ("linear", "mlp"), "estimators": ("tracin", "captum_tracincp_fast")},
        {"models": ("resnet20", "mlp", "linear"), "glitches": FOUR_GLITCHES},
        {"glitches": tuple(("class_dependent@all_classes", f"0.{i}") for i in range(1, 6))},
    ],
    ids=["one", "estimators", "three-by-four", "five-ratios"],
)
def test_signal_bars_are_legible_with_every_signal(axes: dict[str, Any]) -> None:
    headline = "f1_published"  # the longer label
    summary = detection_summary(ALL_SIGNALS, **axes)
    table = signals.detection_cells(summary, dataset="mnist", headline=headline)
    assert_legible(signals.draw_signals(table, dataset="mnist", headline=headline))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_confusion_tables_are_legible(count: int) -> None:
    datasets = ("mnist", "fmnist@tenth", "cifar10_lossless", "digits", "cifar10_jpeg@tenth")[:count]
    assert_legible(characterisation.draw_characterisation(mixed_summary(datasets=datasets)))


@pytest.mark.parametrize(
    "axes",
    [
        {},
        {
            "datasets": ("mnist", "cifar10_lossless"),
            "models": ("resnet20@akamaster", "mlp"),
            "glitches": FOUR_GLITCHES,
        },
    ],
    ids=["one", "many"],
)
def test_gains_and_costs_are_legible(axes: dict[str, Any]) -> None:
    assert_legible(gain.draw_gain(gain.gain_table(gain_rows(**axes))))
    assert_legible(cost.draw_cost(cost.cost_table(cost_rows(**axes))))


@pytest.mark.parametrize("epochs", [1, 7, 60])
def test_histories_are_legible(epochs: int) -> None:
    kinds = ("clean", "mislabelled", "anomalous", "corrupted", "near_duplicate")
    rows = history_rows(kinds, epochs)
    assert_legible(history.draw_history(rows))
    assert_legible(
        history.draw_history(pd.concat([rows, rows.assign(model="mlp"), rows.assign(ratio="0.05")]))
    )


@pytest.mark.parametrize("models", [("resnet20",), ("tabular_mlp", "tabular_resnet", "ft_transformer")])
def test_curves_and_marks_of_single_studies_are_legible(models: tuple[str, ...]) -> None:
    ratios = tuple(("uniform", ratio) for ratio in ("0.01", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3"))
    values = detection_summary(tuple(curves.LINES), models=models, glitches=ratios)
    values = values[values["metric"] == "f1"].assign(percent=lambda v: 100 * v["ratio"].astype(float))
    texts = {"xlabel": "share of glitches (%)", "ylabel": style.HEADLINES["f1"], "title": "Forest Cover"}
    assert_legible(curves.draw_curves(values, x="percent", **texts))
    pairs = values[values["signal"] == "CNCI"].assign(clean=0.3, dirty=0.4)
    assert_legible(glitch_figures.draw_dirty_validation(pairs, "CNCI"))
    measured = pd.DataFrame(
        {**cell, "method": method, "measure": measure, "mean": 0.5, "std": 0.1, "n": 3}
        for cell in cells(models=models, glitches=ratios[:3], seeds=1)
        for method in label_repair.METHODS
        for measure in label_repair.MEASURES
    )
    assert_legible(label_repair.draw_label_repair(measured))


# --- what is drawn -----------------------------------------------------------------------------------------


def bars_of(axes: Any, names: list[str]) -> dict[str, float]:
    return {names[round(bar.get_y() + bar.get_height() / 2)]: bar.get_width() for bar in axes.patches}


@pytest.mark.parametrize("headline", ["f1", "f1_published"])
def test_bars_equal_the_means_of_the_table(headline: str) -> None:
    summary = detection_summary(models=("linear", "mlp"), glitches=FOUR_GLITCHES[1:3])
    table = signals.detection_cells(summary, dataset="mnist", headline=headline)
    means = signals.signal_table(table, headline).set_index(["model", "glitch", "signal"])["mean"]
    figure = signals.draw_signals(table, dataset="mnist", headline=headline)
    panels = [
        ("linear", "far_anomalies"),
        ("linear", "mixture@mu_ua"),
        ("mlp", "far_anomalies"),
        ("mlp", "mixture@mu_ua"),
    ]
    for panel, axes in zip(panels, figure.axes, strict=True):
        assert bars_of(axes, ["SI", "CNCI", "PCID"]) == pytest.approx(means.loc[panel].to_dict(), abs=1e-12)
        assert axes.get_xlim() == (0, 1)
    assert style.HEADLINES[headline].startswith("F1")
    assert figure.axes[-1].get_xlabel().replace("\n", " ") == style.HEADLINES[headline]


def test_error_bars_are_the_deviation_cut_at_one() -> None:
    summary = detection_summary(("SI",), seeds=2)
    summary.loc[summary["metric"] == "f1", "value"] = [0.8, 1.0]
    [axes] = signals.draw_signals(summary, dataset="mnist").axes
    ends = {round(float(x), 6) for line in axes.lines[:-1] for x in line.get_xdata() if np.isfinite(x)}
    assert {min(ends), max(ends)} == {round(0.9 - np.std([0.8, 1.0], ddof=1), 6), 1.0}


def test_base_rate_zeros_and_missing_signals_are_shown() -> None:
    summary = detection_summary(models=("linear", "mlp"))
    summary = summary[~((summary["model"] == "mlp") & (summary["signal"] == "SI"))]
    upper, lower = signals.draw_signals(
        signals.detection_cells(summary, dataset="mnist", headline="f1"), dataset="mnist"
    ).axes
    assert list(upper.lines[-1].get_xdata()) == pytest.approx([0.1, 0.1])
    assert upper.texts[-1].get_text() == "0.00"
    assert lower.texts[0].get_text() == "–"
    assert set(bars_of(lower, ["SI", "CNCI", "PCID"])) == {"CNCI", "PCID"}


def test_one_glitch_of_a_dataset_can_be_drawn_alone() -> None:
    summary = detection_summary(glitches=FOUR_GLITCHES, datasets=("mnist", "fmnist"))
    table = signals.detection_cells(summary, dataset="mnist", headline="f1", glitch="uniform")
    assert set(table["glitch"]) == {"uniform"}
    assert set(table["dataset"]) == {"mnist"}
    assert set(table["metric"]) == {"f1", "contamination"}


def test_confusion_is_the_mean_over_seeds_and_is_written_into_the_table() -> None:
    summary = mixed_summary()
    counts = characterisation.confusion(summary)
    by_hand = summary[summary["metric"] == "confusion_mislabelled_anomalous"]["value"].mean()
    assert counts[1, 2] == pytest.approx(by_hand)
    [axes] = characterisation.draw_characterisation(summary).axes
    texts = [text.get_text() for text in axes.texts]
    expected = [f"{c:,.0f}\n{100 * c / row.sum():.0f} %" for row in counts for c in row]
    assert texts == expected
    accuracy = summary[summary["metric"] == "characterisation_accuracy_anomalous"]["value"].mean()
    assert f"anomalous {accuracy:.2f} ±" in axes.get_xlabel()
    # Of one detected sample in two seeds there is half a one, not none.
    few = summary.assign(value=summary["value"].where(~summary["metric"].str.contains("count"), 0.5))
    [axes] = characterisation.draw_characterisation(few).axes
    assert axes.get_xlabel().count(" of 0.5") == 2


def test_gain_is_the_paired_difference_on_test() -> None:
    rows = gain_rows(seeds=5)
    table = gain.gain_table(rows.sample(frac=1, random_state=0)).set_index("policy")
    test = rows[rows["part"] == "test"].set_index(["policy", "seed"])["accuracy"]
    expected = compare(100 * test["influence"].to_numpy(), 100 * test["none"].to_numpy()).difference
    found = table.loc["influence"]
    assert (found["points"], found["low"], found["high"], found["n"]) == pytest.approx(
        (expected.mean, expected.low, expected.high, 5)
    )
    assert table.loc["oracle", "share"] == 1
    assert found["share"] == pytest.approx(found["points"] / table.loc["oracle", "points"])
    assert list(table.index) == ["random", "influence", "oracle"]


def test_gain_marks_lie_at_the_differences() -> None:
    table = gain.gain_table(gain_rows())
    [axes] = gain.draw_gain(table).axes
    marks = [
        float(line.get_xdata()[0])
        for line in axes.lines
        if line.get_marker() in style.POLICY_MARKERS.values()
    ]
    assert marks == pytest.approx(list(table["points"]))


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_an_interval_of_two_seeds_is_cut_where_the_axis_ends(seeds: int) -> None:
    rows = gain_rows(seeds=seeds)
    rows.loc[(rows["seed"] == seeds - 1) & (rows["policy"] == "random"), "accuracy"] -= 0.2
    table = gain.gain_table(rows)
    figure = gain.draw_gain(table)
    assert_legible(figure)
    [axes] = figure.axes
    low, high = axes.get_xlim()
    arrows = [line for line in axes.lines if line.get_marker() in (CARETLEFT, CARETRIGHT)]
    lines = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2][1:]
    for row, ends in zip(table.to_dict("records"), lines, strict=True):
        if seeds > 1:
            assert list(ends) == [max(row["low"], low), min(row["high"], high)]
    if seeds == 2:
        assert (table["high"] > 100).any()
        assert -25 < low < table["points"].min() - 10  # the seed with 20 points less is on the axis
        assert high < 10
        assert {arrow.get_xdata()[0] for arrow in arrows} == {low, high}
    else:
        assert not arrows
    assert ("reaches further" in figure.legends[0].get_texts()[-1].get_text()) == (seeds == 2)


def test_gain_leaves_out_cells_without_glitch() -> None:
    rows = gain_rows(glitches=(("none", "clean"), ("uniform", "0.1")))
    assert set(gain.gain_table(rows)["glitch"]) == {"uniform"}


def test_history_curves_are_means_over_runs() -> None:
    runs = pd.concat([history_rows(), history_rows().assign(seed=1, accuracy=0.5)])
    accuracy, _ = history.draw_history(runs).axes
    expected = runs[(runs["part"] == "train") & (runs["kind"] == "clean")].groupby("epoch")["accuracy"].mean()
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), expected)


def test_history_has_a_row_of_panels_per_model_and_ratio() -> None:
    rows = [
        history_rows().assign(model=model, ratio=ratio)
        for model in ("linear", "mlp")
        for ratio in ("0.1", "0.2")
    ]
    figure = history.draw_history(pd.concat(rows))
    assert [axes.get_title(loc="left") for axes in figure.axes[::2]] == [
        f"{model}, uniform label noise, {ratio} %" for model in ("Linear head", "MLP") for ratio in (10, 20)
    ]
    assert len(figure.axes) == 8


def test_history_leaves_out_kinds_without_samples() -> None:
    rows = history_rows()
    rows.loc[rows["kind"] == "mislabelled", ["accuracy", "loss"]] = np.nan
    [legend] = history.draw_history(rows).legends
    assert [text.get_text() for text in legend.get_texts()] == ["clean", "validation"]


def test_cost_bars_add_up_to_the_mean_cost_of_a_cell() -> None:
    rows = cost_rows(models=("linear", "mlp"), seeds=4)
    table = cost.cost_table(rows)
    [axes] = cost.draw_cost(table).axes
    for place, model in enumerate(("linear", "mlp")):
        drawn = sum(
            bar.get_width() for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == place
        )
        assert drawn == pytest.approx(rows.loc[rows["model"] == model, "cpu_seconds"].sum() / 4)
    assert cost.ordered_stages(rows["stage"])[-1] == "a_stage_of_mine"
    assert list(table["stage"][:3]) == ["prepare_data", "train", "compute_influence"]


# --- stages ------------------------------------------------------------------------------------------------

Stage = Callable[..., None]
STAGES: dict[str, tuple[Stage, str, pd.DataFrame, dict[str, Any]]] = {
    "signals": (signals.plot_signals, "summary", detection_summary(), {"dataset": "mnist"}),
    "characterisation": (characterisation.plot_characterisation, "summary", mixed_summary(), {}),
    "gain": (gain.plot_gain, "gain", gain_rows(), {}),
    "history": (
        history.plot_history,
        "histories",
        history_rows().drop(columns=["model", "glitch", "ratio", "seed"]),
        {
            "cells": [
                {"model": "linear", "glitch": "uniform", "ratio": "0.1", "seed": seed} for seed in "01"
            ],
            "dataset": "mnist",
        },
    ),
    "cost": (cost.plot_cost, "cost", cost_rows(), {}),
}


def run_stage(name: str, source: Path, folder: Path) -> list[Path]:
    """Run one stage on ``source``; returns its outputs."""
    stage, argument, _, others = STAGES[name]
    outputs = [folder / f"figure.{suffix}" for suffix in ("svg", "pdf", "png")]
    arguments: dict[str, Any] = {argument: source, "figures": outputs, **others}
    if name == "history":
        arguments["histories"] = [source, source]
    else:
        arguments["table"] = folder / "table.csv"
        outputs = [*outputs, folder / "table.csv"]
    stage(**arguments)
    return outputs


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_writes_all_files_and_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    source = tmp_path / "source.parquet"
    STAGES[name][2].to_parquet(source)
    first = run_stage(name, source, tmp_path / "first")
    second = run_stage(name, source, tmp_path / "second")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert sorted((tmp_path / "first").iterdir()) == sorted(first)


def broken(name: str, how: str, source: Path) -> None:
    table = STAGES[name][2]
    match how:
        case "truncated":
            table.to_parquet(source)
            source.write_bytes(source.read_bytes()[:-100])
        case "no rows":
            table[:0].to_parquet(source)
        case "no column":
            table.drop(columns=table.columns[-1 if name != "characterisation" else -2]).to_parquet(source)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "does not exist"),
        ("truncated", "cannot be read as parquet"),
        ("no rows", "has no rows"),
        ("no column", "has no column"),
    ],
)
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_says_in_one_line_what_is_wrong_with_its_input(
    name: str, how: str, message: str, tmp_path: Path
) -> None:
    source = tmp_path / "source.parquet"
    broken(name, how, source)
    with pytest.raises(GlitchtraceError, match=rf"source\.parquet {message}") as error:
        run_stage(name, source, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("signals", detection_summary(datasets=("fmnist",)), "has no f1 of mnist; add such cells"),
        ("characterisation", detection_summary(), "has no cell with several kinds of glitch"),
        ("gain", gain_rows().query("policy != 'none'"), "has no repair to compare with none"),
    ],
)
def test_a_stage_refuses_a_table_without_its_subject(
    name: str, table: pd.DataFrame, message: str, tmp_path: Path
) -> None:
    table.to_parquet(tmp_path / "source.parquet")
    with pytest.raises(GlitchtraceError, match=message):
        run_stage(name, tmp_path / "source.parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_history_of_no_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GlitchtraceError, match="no training history to draw"):
        history.plot_history(histories=[], cells=[], figures=[tmp_path / "history.svg"], dataset="mnist")


# --- captions ----------------------------------------------------------------------------------------------


OTHER_CAPTIONS = (
    "gallery",
    "ratios",
    "epochs",
    "clustered_anomalies",
    "dirty_validation",
    "label_repair",
    "ranks",
)


@pytest.mark.parametrize("name", ["workflow", *STAGES, *OTHER_CAPTIONS])
@pytest.mark.parametrize("headline", ["f1", "f1_published"])
def test_captions_are_sound_templates_and_sound_text(name: str, headline: str) -> None:
    keys = SimpleNamespace(dataset="mnist", glitch="uniform", ratio="0.1", model="mlp", estimator="tracin")
    params = SimpleNamespace(headline=headline, size=24, signal="CNCI")
    template = Environment(undefined=StrictUndefined).from_string(
        (CAPTIONS / f"{name}.rst").read_text(encoding="utf-8")
    )
    text = template.render(snakemake=SimpleNamespace(wildcards=keys, params=params))
    publish_string(text, writer="pseudoxml", settings_overrides={"report_level": 1, "halt_level": 1})
    assert ("published rule" in text) == (name == "signals" and headline == "f1_published")


# --- networks that have learnt the data ------------------------------------------------------------------------------


SETS = {"datasets": ("mnist", "cifar10_lossless")}
DRAWN: dict[str, tuple[pd.DataFrame, Callable[[pd.DataFrame], Figure]]] = {
    "signals": (
        detection_summary(**SETS).query("dataset == 'cifar10_lossless'"),
        lambda rows: signals.draw_signals(rows, dataset="cifar10_lossless"),
    ),
    "characterisation": (mixed_summary(**SETS), characterisation.draw_characterisation),
    "gain": (gain.gain_table(gain_rows(**SETS)), gain.draw_gain),
    "history": (history_rows().assign(dataset="cifar10_lossless", model="resnet20"), history.draw_history),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_network_that_has_learnt_the_data_is_marked_where_it_is_drawn(name: str) -> None:
    rows, draw = DRAWN[name]

    def marks(*pairs: list[str]) -> int:
        figure = draw(style.marked(rows, pairs))
        return sum(text.get_text().count(style.MARK) for text in visible_texts(figure))

    assert marks() == marks(["fmnist", "resnet20"]) == 0
    assert marks(["cifar10_lossless", "resnet20"]) == 1


def test_every_stage_that_can_mark_such_networks_is_told_of_them() -> None:
    rules = "".join(path.read_text() for path in (CAPTIONS.parent / "rules").rglob("*.smk"))
    stages = re.findall(r'stage\(\s*"([\w.]+):(\w+)",(.*?)\n        \)', rules, re.DOTALL)
    told = {}
    for module, function, arguments in stages:
        stage = getattr(importlib.import_module(f"glitchtrace.{module}"), function)
        if "memorised" in inspect.signature(stage).parameters:
            told[function] = "memorised=MEMORISED" in arguments
    assert len(told) >= 11
    assert all(told.values()), told
