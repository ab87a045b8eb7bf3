"""The reproduction page: in step with its tables, complete, and strict in its verdicts."""

import importlib
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from glitchtrace.core import files
from glitchtrace.papers.glitches import decisions, published
from glitchtrace.papers.glitches.hours import Hours
from glitchtrace.papers.glitches.losses import double_softmax_loss, last_losses
from glitchtrace.papers.glitches.published import Number
from glitchtrace.papers.glitches.stage import compare_published
from glitchtrace.papers.glitches.statements import Statement, _best_old, _not_above, statements
from glitchtrace.papers.glitches.tables import Found, Tables, bounds, difference, study_table
from glitchtrace.papers.glitches.verdicts import in_words, judge_number

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reproduction.md"


@pytest.fixture(scope="module")
def page():
    """The script of the page, run from the root of the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        patch.chdir(ROOT)
        yield importlib.import_module("reproduction")


def table(*rows: tuple) -> object:
    """Tables of rows (dataset, model, glitch, ratio, signal, metric, mean, std, n)."""
    columns = ["dataset", "model", "glitch", "ratio", "signal", "metric", "mean", "std", "n"]
    return Tables(pd.DataFrame(rows, columns=columns).assign(estimator="tracin"))


def number(published: float, deviation: float | None = 0.01, **changed: object) -> object:
    keys = {"dataset": "mnist@tenth", "model": "resnet20", "glitch": "uniform", "ratio": "0.1"}
    keys |= {"signal": "SI", "metric": "f1", "study": "mnist"}
    return Number("a number", published, deviation, **{**keys, **changed})


CELL = ("mnist@tenth", "resnet20", "uniform", "0.1", "SI", "f1")


def test_the_page_is_in_step_with_its_tables(page) -> None:
    text = page.page(page.read())
    assert (ROOT / "docs/reproduction.md").read_text() == text, "run python docs/reproduction.py"


def test_every_row_names_a_study_of_ours_or_why_there_is_none() -> None:
    rows = [
        *published.validation_accuracies(),
        *published.training_accuracies(),
        *published.losses(),
        *published.changes(),
        *published.clustered(),
        *published.measured(),
        *statements(),
    ]
    studies = {file.stem for file in (ROOT / "config/studies").glob("*.yaml")}
    for row in rows:
        assert row.missing or row.study in studies, row


def test_every_published_table_is_whole() -> None:
    accuracies = {
        (row.dataset, row.model, row.glitch): row.published for row in published.validation_accuracies()
    }
    # Nine rows of three, and CIFAR-10 under ResNet-20 beside both of our sets.
    assert len(accuracies) == 9 * 3 + 3
    assert accuracies["cifar10@tenth", "convnext_tiny", "far_anomalies"] == 0.87
    assert len(published.training_accuracies()) == 4 * 3
    assert len(published.losses()) == 3 * 3
    assert len(published.changes()) == 4 * 2
    assert len(published.clustered()) == 4 + 3


@pytest.mark.parametrize(
    ("mean", "std", "verdict"),
    [
        (0.25, 0.0, "reproduced"),
        (0.5, 0.2, "undecided: +0.30 points, 95 % interval -0.05 to +0.65"),
        (1.5, 0.7, "differs by +1.30 points: cause unknown"),
        (0.5, 0.5, "undecided: +0.30 points, 95 % interval -0.58 to +1.18"),
    ],
)
def test_a_change_in_points_is_weighed_in_points(mean: float, std: float, verdict: str) -> None:
    # The published spread is not known: theirs is taken to be ours, and both are means of five runs.
    tables = table((*CELL, mean, std, 5))
    ours, found = judge_number(number(0.2, None, points=True), tables)
    assert ours == f"{mean:+.2f} ± {std:.2f} (5 seeds)"
    assert found == verdict


def test_what_cannot_be_compared_has_no_verdict() -> None:
    assert judge_number(number(0.8, missing="for a reason"), table((*CELL, 0.8, 0.0, 5))) is None


def test_changes_of_accuracy_are_paired_by_seed(tmp_path: Path) -> None:
    cell = {"dataset": "mnist@tenth", "model": "resnet20@akamaster", "estimator": "tracin", "signal": ""}
    rows = [
        {
            **cell,
            "glitch": glitch,
            "ratio": ratio,
            "seed": seed,
            "metric": "validation_accuracy",
            "value": value,
        }
        for glitch, ratio, values in (("none", "clean", (0.9, 0.8, 0.7)), ("uniform", "0.1", (0.89, 0.79)))
        for seed, value in enumerate(values)
    ]
    files.write_parquet(pd.DataFrame(rows), tmp_path / "summary.parquet")
    costs = pd.DataFrame([{**rows[0], "stage": "train", "cpu_seconds": 1.0}])
    files.write_parquet(costs, tmp_path / "cost.parquet")
    found = study_table(tmp_path / "summary.parquet", tmp_path / "cost.parquet").set_index("metric")
    change = found.loc["validation_accuracy_change"]
    # The spread over seeds is that of the differences, which are equal; the third seed has no pair.
    assert (change["glitch"], change["n"]) == ("uniform", 2)
    assert change["mean"] == pytest.approx(-1.0)
    assert change["std"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("mean", "std", "verdict"),
    [
        (0.805, 0.0, "reproduced"),
        (0.803, 0.005, "reproduced"),
        (0.812, 0.02, "undecided: +0.012, 95 % interval -0.013 to +0.037"),
        (0.87, 0.04, "differs by +0.070: so it is"),
        (0.95, 0.04, "differs by +0.150: so it is"),
        (0.84, float("nan"), "differs by +0.040: so it is"),
        (0.82, float("nan"), "reproduced"),
    ],
)
def test_two_means_are_equal_by_their_interval_different_or_undecided(
    mean: float, std: float, verdict: str
) -> None:
    tables = table((*CELL, mean, std, 1 if math.isnan(std) else 5))
    assert judge_number(number(0.8, why="so it is"), tables)[1] == verdict


@pytest.mark.parametrize(
    ("mean", "std", "verdict"),
    [
        (0.81, 0.01, "reproduced"),
        (0.84, 0.01, "differs by +0.040: so it is"),
        (0.86, 0.04, "undecided: +0.060, 95 % interval -0.062 to +0.182"),
        (0.8, float("nan"), "undecided: +0.000, and no spread is known on either side"),
    ],
)
def test_a_single_published_run_is_held_against_the_next_run_of_ours(mean, std, verdict) -> None:
    tables = table((*CELL, mean, std, 1 if math.isnan(std) else 5))
    assert judge_number(number(0.8, None, runs=1, why="so it is"), tables)[1] == verdict


def test_the_interval_of_two_means_is_that_of_welch() -> None:
    first, second = np.array([0.81, 0.84, 0.79, 0.83]), np.array([0.78, 0.80, 0.80, 0.75, 0.79, 0.77])
    sides = [Found(side.mean(), side.std(ddof=1), len(side)) for side in (first, second)]
    value, half = difference(*sides)
    oracle = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (value - half, value + half) == pytest.approx((oracle.low, oracle.high))


def test_the_next_run_falls_into_its_interval_nineteen_times_of_twenty() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 6))
    inside = 0
    for row in draws:
        ours = Found(row[:5].mean(), row[:5].std(ddof=1), 5)
        value, half = difference(ours, Found(row[5], math.nan, 1))
        inside += abs(value) <= half
    assert inside / len(draws) == pytest.approx(0.95, abs=0.012)


def test_values_in_two_groups_are_shown_beside_their_mean(tmp_path: Path) -> None:
    found = Found(0.776, 0.233, 5, (0.93, 0.4, 0.92, 0.91, 0.72))
    assert in_words(found) == "0.776 ± 0.233 (5 seeds): 0.400, 0.720, 0.910, 0.920, 0.930"
    assert in_words(replace(found, deviation=0.02)) == "0.776 ± 0.020 (5 seeds)"


@pytest.mark.parametrize(
    ("si", "deviation", "verdict"),
    [
        (0.7, 0.01, True),
        (0.654, 0.01, "undecided: 0.653 against 0.654, 95 % interval of the difference -0.016 to +0.014"),
        (0.6, 0.01, False),
    ],
)
def test_the_best_signal_is_best_by_intervals(si: float, deviation: float, verdict: bool | str) -> None:
    cell = ("mnist@tenth", "resnet20@akamaster", "uniform", "0.1")
    values = {"SI": si, "GD_class": 0.653, "MI": 0.1, "AAI": 0.2}
    tables = table(*((*cell, signal, "f1", value, deviation, 5) for signal, value in values.items()))
    assert _best_old("mnist@tenth", "SI")(tables)[1] == verdict


ONE, OTHER = Found(0.5, math.nan, 1), Found(0.9, math.nan, 1)


@pytest.mark.parametrize(
    ("few", "verdict"),
    [
        # Two values 0.1 apart: a mean of two has an interval of 0.9 to either side.
        (Found(0.5, 0.07, 2), "undecided"),
        (Found(0.5, 0.07, 5), False),
        (ONE, "undecided: a single run"),
    ],
)
def test_few_seeds_decide_little(few: Found, verdict: bool | str) -> None:
    for found in (
        decisions.all_below(0.3, [few, Found(0.1, 0.01, 5)]),
        decisions.within(few.mean, *bounds(few), 0.3, 0.05),
    ):
        if isinstance(verdict, str):
            assert str(found).startswith("undecided")
        else:
            assert found is verdict


def test_single_runs_on_both_sides_decide_nothing() -> None:
    assert str(decisions.below([(ONE, OTHER)])).endswith("single runs on both sides")
    assert decisions.below([(Found(0.5, 0.01, 5), OTHER)]) is True
    value, low, high = decisions.ratio_of(ONE, OTHER)
    assert (value, low, high) == (pytest.approx(0.5 / 0.9), 0.0, math.inf)


def test_several_cells_are_decided_together() -> None:
    assert decisions.all_of([True, "undecided: why", True]) == "undecided: why"
    assert decisions.all_of(["undecided: why", False]) is False
    assert decisions.all_of([True, True]) is True
    assert (
        decisions.count([True, "undecided", False, True]) == "best in 2 of 4, not best in 1, undecided in 1"
    )


def test_the_mean_of_cells_has_the_error_of_independent_means() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(loc=[0.2, 0.6], scale=[0.1, 0.3], size=(20000, 5, 2))
    exact = draws.mean(axis=1).mean(axis=1).std()
    mean = decisions.mean_of([Found(0.2, 0.1, 5), Found(0.6, 0.3, 5)])
    assert mean.mean == pytest.approx(0.4)
    assert mean.deviation / math.sqrt(mean.seeds) == pytest.approx(exact, rel=0.02)


def test_the_interval_of_a_ratio_is_that_of_simulated_ratios() -> None:
    generator = np.random.default_rng(0)
    over = generator.normal(0.6, 0.03, size=(20000, 5)).mean(axis=1)
    under = generator.normal(0.4, 0.01, size=(20000, 5)).mean(axis=1)
    _, low, high = decisions.ratio_of(Found(0.6, 0.03, 5), Found(0.4, 0.01, 5))
    inside = np.mean((low < over / under) & (over / under < high))
    # Student's t on few seeds is wider than the spread that is known here.
    assert 0.95 < inside < 0.995


def test_published_losses_are_those_of_a_softmax_of_a_softmax() -> None:
    logits = torch.tensor([[3.0, -1.0, 0.5], [0.0, 9.0, -9.0]])
    labels = torch.tensor([0, 2])
    oracle = torch.nn.functional.cross_entropy(logits.softmax(dim=1), labels, reduction="none")
    found = double_softmax_loss(logits.softmax(dim=1).numpy(), labels.numpy())
    assert found == pytest.approx(oracle.numpy(), abs=1e-6)


def test_losses_are_means_over_the_last_epoch_by_kind(tmp_path: Path) -> None:
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    tensors = {"learning_rates": np.full(2, 0.1), "train/labels": np.array([0, 0, 1])}
    tensors |= {"train/probabilities/001": outputs[::-1].copy(), "train/probabilities/002": outputs}
    files.write_tensors(tensors, tmp_path / "factors.safetensors")
    kinds = pd.DataFrame({"kind": np.array([0, 1, 0], dtype=np.int8)})
    files.write_parquet(kinds, tmp_path / "glitch.parquet")
    found = last_losses(tmp_path / "factors.safetensors", tmp_path / "glitch.parquet")
    losses = double_softmax_loss(outputs, tensors["train/labels"])
    assert found == {"clean": pytest.approx(losses[[0, 2]].mean()), "mislabelled": pytest.approx(losses[1])}


def test_every_row_leads_to_the_table_of_its_seeds() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "tables/" in line]
    assert len(rows) > 90
    for line in rows:
        *_, ours, verdict, linked = (cell.strip() for cell in line.strip("|").split("|"))
        names = re.findall(r"\((tables/\w+\.csv)\)", linked)
        tables = [pd.read_csv(PAGE.parent / name) for name in names]
        assert names, line
        assert not verdict.startswith("not yet run")
        if given := re.match(r"([+-]?\d\.\d+)(?: ± \d\.\d+)? \((\d) seeds?\)", ours):
            digits = len(given[1].partition(".")[2])
            near = [(frame["mean"] - float(given[1])).abs() <= 0.5 * 10**-digits + 1e-9 for frame in tables]
            assert any(
                (frame[close]["n"] == int(given[2])).any() for frame, close in zip(tables, near, strict=True)
            )


def test_all_rows_are_counted_by_their_verdict(page) -> None:
    text = PAGE.read_text()
    rows = len(published.numbers()) + len(statements())
    assert f"| all | {rows} |" in text
    counted = re.findall(r"^\| (differs|undecided|not yet run) \| (\d+) \|$", text, re.M)
    for verdict, count in counted:
        assert len(re.findall(rf" \| {verdict}[^|]* \| [^|]+ \|$", text, re.M)) == int(count)
    assert len(counted) == 3


def test_of_a_shared_cell_the_study_with_most_seeds_counts() -> None:
    tables = table((*CELL, 0.1, 0.0, 1), (*CELL, 0.2, 0.0, 5))
    assert tables.value(*CELL).mean == 0.2
    assert tables.value(*CELL[:5], "f1_published") is None
    assert table((*CELL, float("nan"), 0.0, 5)).value(*CELL) is None


def test_a_statement_that_was_not_run_names_its_study_and_hours(page) -> None:
    check = _not_above("mnist@tenth", "GD_class", "SI")
    row = Statement("s", "w", check, "mnist")
    seconds = {"train": 330.0, "profile_influence": 20.0, "detect": 10.0}
    costs = [(*CELL[:4], "", f"cpu_seconds_{stage}", value, 0.0, 5) for stage, value in seconds.items()]
    tables = table((*CELL, 0.5, 0.0, 5), *costs)
    # Five cells of 360 seconds, and three retrainings of each.
    text = page.statements([row], tables, Hours(tables))
    assert "not yet run: `mnist`, about 1.9 CPU hours" in text


def test_hours_of_a_dataset_that_was_not_run_go_by_its_training_samples(page) -> None:
    seconds = {"train": 60.0, "profile_influence": 0.0, "detect": 0.0}
    costs = [(*CELL[:4], "", f"cpu_seconds_{stage}", value, 0.0, 5) for stage, value in seconds.items()]
    # 4,000 pictures instead of 6,000, five seeds of one glitch.
    assert Hours(table(*costs)).of("cifar10_lossless_anomalies") == pytest.approx(5 * 40 / 3600)


@pytest.mark.parametrize(("seeds", "answer"), [(5, "yes"), (2, "2 of 5 trainings"), (0, "no")])
def test_a_study_that_was_run_in_part_says_so(page, monkeypatch, tmp_path, seeds: int, answer: str) -> None:
    # A study of one cell and five seeds; its table has a row per metric.
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    if seeds:
        rows = [{**dict(zip(("dataset", "model", "glitch", "ratio"), CELL, strict=False)), "n": seeds}] * 3
        pd.DataFrame(rows).to_csv(tmp_path / "cifar10_lossless_anomalies.csv", index=False)
    costs = [
        (*CELL[:4], "", f"cpu_seconds_{stage}", 1.0, 0.0, 5)
        for stage in ("train", "profile_influence", "detect")
    ]
    assert page.run("cifar10_lossless_anomalies", Hours(table(*costs))) == answer


@pytest.mark.parametrize(
    ("gd", "verdict"),
    [
        (0.4, "reproduced"),
        (0.508, "reproduced"),
        (0.512, "differs: cause unknown"),
        (0.6, "differs: cause unknown"),
    ],
)
def test_a_statement_is_decided_by_our_means(page, gd: float, verdict: str) -> None:
    cell = ("mnist@tenth", "resnet20@akamaster", "uniform", "0.1")
    tables = table((*cell, "SI", "f1", 0.5, 0.0, 5), (*cell, "GD_class", "f1", gd, 0.0, 1))
    row = Statement("s", "w", _not_above("mnist@tenth", "GD_class", "SI"), "mnist")
    text = page.statements([row], tables, Hours(tables))
    assert text.endswith(f"| {verdict} | – |")
    assert "(1 seed)" in text


@pytest.mark.parametrize("stages", [[], ["train"], ["profile_influence", "detect"]])
def test_no_statement_is_decided_for_a_study_without_its_cells(stages: list[str]) -> None:
    cell = (published.MNIST, published.RESNET, "uniform", "0.1", "")
    tables = table(*((*cell, f"cpu_seconds_{stage}", 10.0, 1.0, 5) for stage in stages))
    assert [row.what for row in statements() if row.check(tables)] == []


def test_per_epoch_values_are_read_in_order() -> None:
    rows = [(*CELL[:5], f"f1_epoch_{epoch}", epoch / 10, 0.0, 5) for epoch in (2, 1, 3)]
    assert [found.mean for found in table(*rows).per_epoch(*CELL[:5])] == [0.1, 0.2, 0.3]


def test_the_report_of_a_study_compares_what_it_has_and_nothing_else(tmp_path: Path) -> None:
    cell = {"dataset": "mnist@tenth", "model": "resnet20@akamaster", "glitch": "uniform", "ratio": "0.1"}
    cell["estimator"] = "tracin"
    values = {
        ("SI", "f1"): 0.84,
        ("CNCI", "f1"): 0.5,
        ("", "validation_accuracy"): 0.94,
        ("SI", "other"): 1.0,
    }
    rows = [
        {**cell, "seed": seed, "signal": signal, "metric": metric, "value": value + 0.001 * seed}
        for (signal, metric), value in values.items()
        for seed in range(5)
    ]
    files.write_parquet(pd.DataFrame(rows), tmp_path / "summary.parquet")
    costs = [{**cell, "seed": 0, "stage": stage, "cpu_seconds": 10.0} for stage in ("train", "detect")]
    files.write_parquet(pd.DataFrame(costs), tmp_path / "cost.parquet")
    compare_published(
        summary=tmp_path / "summary.parquet",
        cost=tmp_path / "cost.parquet",
        epochs=[],
        table=tmp_path / "reproduction.csv",
        page=tmp_path / "reproduction.html",
    )
    assert (tmp_path / "reproduction.html").read_text().count("<tr>") == 4
    found = pd.read_csv(tmp_path / "reproduction.csv").set_index("what")
    # Three kinds of published number have the values above; statements need signals that are missing here.
    uniform = "uniform noise, really changed labels, exact k"
    assert list(found.index) == [
        "uniform noise",
        f"{uniform}, CNCI",
        f"{uniform}, SI",
        "validation accuracy, uniform",
    ]
    assert found.loc[f"{uniform}, SI", "verdict"] == "reproduced"
    assert found.loc[f"{uniform}, SI", "ours"] == "0.842 ± 0.002 (5 seeds)"
    assert found.loc[f"{uniform}, CNCI", "verdict"].startswith("differs by -0.426")
