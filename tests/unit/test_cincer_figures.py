"""Figures and tables of the interactive loop: what they show, and what they refuse."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_json, write_npy, write_parquet
from glitchtrace.papers.cincer import figures, sample_figures, tables
from glitchtrace.papers.cincer.cells import PANEL_SETS, QUESTIONS
from glitchtrace.papers.cincer.tables import PRECISIONS, budget_table, tabulate_questions


def traces(*, precise: bool = False, last: int = 20) -> pd.DataFrame:
    """Traces of five ways of asking and the upper bound, three repeats each."""
    rng = np.random.default_rng(0)
    runs = [("margin", "0.2", "0.2", name) for name in ("top_fisher", "no_ce", "ce_removal", "nearest")]
    runs += [("margin", "0.2", "0.2", "practical_fisher"), ("always", "0", "clean", "no_ce")]
    rows = []
    for inspector, threshold, ratio, negotiator in runs:
        for repeat in range(3):
            for iteration in range(last + 1):
                row: dict[str, Any] = {
                    "dataset": "iris",
                    "model": "logreg",
                    "loop": "interactive",
                    "noise": "random",
                    "ratio": ratio,
                    "inspector": inspector,
                    "threshold": threshold,
                    "negotiator": negotiator,
                    "seed": "1",
                    "repeat": str(repeat),
                    "iteration": iteration,
                }
                for panels in figures.PANELS.values():
                    row |= {column: rng.random() for column in panels}
                row |= {"n_cleaned_ex": iteration / 4, "n_cleaned": iteration / 2, "n_queried": iteration}
                measured = precise and iteration % 2 == 1
                row |= dict.fromkeys(PRECISIONS, 0.2 * (repeat + 1) if measured else np.nan)
                rows.append(row)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, folder: Path, **options: Any) -> pd.DataFrame:
    write_parquet(table, folder / "traces.parquet")
    figures.plot_loops(
        traces=folder / "traces.parquet",
        figures=[folder / "figure.svg", folder / "figure.png"],
        legend=[folder / "legend.svg"],
        table=folder / "lines.csv",
        **{"question": "every", "panels": "summary", "loops": ["interactive"], **options},
    )
    return pd.read_csv(folder / "lines.csv")


def test_the_questions_and_panel_sets_are_those_of_the_workflow() -> None:
    assert set(PANEL_SETS) == set(figures.PANELS)
    for negotiators in QUESTIONS.values():
        for name in negotiators or ():
            registry.card("negotiator", name)
    assert len(figures.PANELS["all"]) == 8 + 14


def test_lines_are_means_with_population_errors(tmp_path: Path) -> None:
    table = traces()
    lines = draw(table, tmp_path)
    one = table[(table["negotiator"] == "top_fisher") & (table["iteration"] == 7)]["f1"].to_numpy()
    line = lines[(lines["negotiator"] == "top_fisher") & (lines["iteration"] == 7)].iloc[0]
    assert line["f1"] == pytest.approx(one.mean(), rel=1e-5)
    assert line["f1_error"] == pytest.approx(one.std() / np.sqrt(3), rel=1e-4)
    assert line["repeats"] == 3


@pytest.mark.parametrize(
    ("question", "panels", "names"),
    [
        ("q1", "summary", {"Top Fisher", "No CE", "Drop CE"}),
        ("q3", "summary", {"Top Fisher", "NN", "Practical Fisher"}),
        ("q3", "questions", {"Top Fisher", "NN", "Practical Fisher", tables.UPPER_BOUND}),
        ("every", "all", {"Top Fisher", "No CE", "Drop CE", "NN", "Practical Fisher"}),
    ],
)
def test_each_question_has_its_lines_and_the_upper_bound_its_place(
    question: str, panels: str, names: set[str], tmp_path: Path
) -> None:
    lines = draw(traces(), tmp_path, question=question, panels=panels)
    assert set(lines["line"]) == names
    assert (tmp_path / "legend.svg").stat().st_size > 500


def test_the_upper_bound_is_not_among_cleaned_labels() -> None:
    runs = tables.choose_runs(traces(), "q3")
    lines = tables.line_table(runs, [*figures.PANELS["questions"], "n_cleaned_ex"])
    looks = figures._looks(lines, "negotiator")
    figure = figures.draw_loops(lines, figures.PANELS["questions"], looks, title="x")
    counts = {axes.get_title(loc="left"): len(axes.lines) for axes in figure.axes}
    assert counts == {"F1": 4, "labels cleaned": 3, "questions": 4}


@pytest.mark.parametrize("axis", figures.STYLE_AXES)
def test_colours_follow_the_chosen_axis(axis: str, tmp_path: Path) -> None:
    table = traces()
    other = table[table["negotiator"] == "top_fisher"].assign(
        inspector="never", threshold="0", noise="outlier", negotiator="random"
    )
    runs = tables.choose_runs(pd.concat([table, other]), "every")
    lines = tables.line_table(runs, [*figures.PANELS["summary"], "n_cleaned_ex"])
    looks = figures._looks(lines[lines["line"] != tables.UPPER_BOUND], axis)
    values = lines.drop_duplicates("line").set_index("line")[axis].drop(tables.UPPER_BOUND)
    colours = {name: look["color"] for name, look in looks.items()}
    assert pd.Series(colours).groupby(values).nunique().eq(1).all()
    assert len(set(colours.values())) == values.nunique()


def test_the_same_traces_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        draw(traces(), tmp_path / folder)
    assert (tmp_path / "a/figure.svg").read_bytes() == (tmp_path / "b/figure.svg").read_bytes()


def test_a_question_without_runs_and_an_unknown_axis_are_one_line(tmp_path: Path) -> None:
    table = traces()
    with pytest.raises(GlitchtraceError, match="no run for the figure 'signs'"):
        draw(table[table["negotiator"] == "nearest"], tmp_path, question="signs")
    with pytest.raises(GlitchtraceError, match="unknown axis 'colour'"):
        draw(table, tmp_path, style_by="colour")


def test_precision_is_pooled_over_questions(tmp_path: Path) -> None:
    write_parquet(traces(precise=True), tmp_path / "traces.parquet")
    figures.plot_loop_precision(
        traces=tmp_path / "traces.parquet",
        figures=[tmp_path / "bars.svg"],
        legend=[tmp_path / "legend.svg"],
        table=tmp_path / "bars.csv",
    )
    bars = pd.read_csv(tmp_path / "bars.csv").set_index("negotiator")
    assert bars.loc["top_fisher", "questions"] == 30
    assert bars.loc["top_fisher", "ce_pr_at_5"] == pytest.approx(0.4)
    assert bars.loc["top_fisher", "ce_pr_at_5_error"] == pytest.approx(
        np.std([0.2, 0.4, 0.6]) / np.sqrt(30), rel=1e-4
    )
    assert list(bars.index[:2]) == ["practical_fisher", "top_fisher"]


def test_without_measurements_there_are_no_bars(tmp_path: Path) -> None:
    write_parquet(traces(), tmp_path / "traces.parquet")
    with pytest.raises(GlitchtraceError, match="precision: true"):
        figures.plot_loop_precision(
            traces=tmp_path / "traces.parquet", figures=[], legend=[], table=tmp_path / "bars.csv"
        )


def test_runs_that_do_not_ask_to_clean_are_not_among_the_curves(tmp_path: Path) -> None:
    silent = traces().assign(loop="interactive@scores")
    lines = draw(pd.concat([traces(), silent]), tmp_path)
    assert set(lines["loop"]) == {"interactive"}
    assert (lines["repeats"] == 3).all()
    with pytest.raises(GlitchtraceError, match="no run for the figure 'every'"):
        draw(silent, tmp_path)


def two_by_two() -> pd.DataFrame:
    """The same runs in two protocols with two seeds and two repeats each; F1 tells which."""
    table = traces()
    table = table[table["repeat"] != "2"]
    second = 2 * (table["repeat"] == "1")
    return pd.concat(
        [
            table.assign(loop=loop, seed=str(seed), f1=base + seed + second)
            for loop, base in (("interactive@b", 9), ("interactive@a", 19))
            for seed in (1, 2)
        ]
    )


def test_protocols_are_lines_of_their_own_and_seeds_are_further_repeats(tmp_path: Path) -> None:
    lines = draw(
        two_by_two(), tmp_path, question="q3", panels="questions", loops=["interactive@a", "interactive@b"]
    )
    assert set(lines["line"]) == {
        f"{name}, loop interactive@{letter}"
        for name in ("Top Fisher", "NN", "Practical Fisher", tables.UPPER_BOUND)
        for letter in "ab"
    }
    assert lines.groupby(["line", "iteration"]).size().max() == 1
    found = lines[lines["line"] == "NN, loop interactive@b"].iloc[3]
    # Two seeds with two repeats each: 10, 12, 11, 13.
    assert (found["repeats"], found["f1"]) == (4, 11.5)
    assert found["f1_error"] == pytest.approx(np.std([10, 12, 11, 13]) / np.sqrt(4), rel=1e-4)


def test_lines_of_one_colour_have_dashes_of_their_own() -> None:
    runs = tables.choose_runs(two_by_two(), "every")
    looks = figures._looks(tables.line_table(runs, ["f1"]), "negotiator")
    assert len(looks) == 12
    assert len({tuple(look.values()) for look in looks.values()}) == 12


def test_upper_bounds_of_several_protocols_are_not_among_cleaned_labels() -> None:
    runs = tables.choose_runs(two_by_two(), "q3")
    lines = tables.line_table(runs, [*figures.PANELS["questions"], "n_cleaned_ex"])
    looks = figures._looks(lines, "negotiator")
    figure = figures.draw_loops(lines, figures.PANELS["questions"], looks, title="x")
    assert [len(axes.lines) for axes in figure.axes] == [8, 6, 8]


def test_a_protocol_is_named_only_where_it_tells_lines_apart() -> None:
    table = traces()
    table.loc[table["negotiator"] == "nearest", "loop"] = "interactive@b"
    names = set(tables.choose_runs(table, "q3")["line"])
    assert names == {"Top Fisher", "NN", "Practical Fisher", tables.UPPER_BOUND}


def test_precision_of_several_protocols_is_not_pooled(tmp_path: Path) -> None:
    measured = traces(precise=True)
    other = measured.assign(loop="interactive@b", inspector="never", threshold="0")
    other = other.assign(**{column: other[column] * 2 for column in PRECISIONS})
    write_parquet(pd.concat([measured, measured.assign(seed="2"), other]), tmp_path / "traces.parquet")
    figures.plot_loop_precision(
        traces=tmp_path / "traces.parquet",
        figures=[tmp_path / "bars.svg"],
        legend=[tmp_path / "legend.svg"],
        table=tmp_path / "bars.csv",
    )
    bars = pd.read_csv(tmp_path / "bars.csv")
    assert bars["bar"].is_unique
    one = bars[bars["negotiator"] == "nearest"].set_index("loop")
    assert one["questions"].to_dict() == {"interactive": 60, "interactive@b": 30}
    assert one["ce_pr_at_5"].to_dict() == pytest.approx({"interactive": 0.4, "interactive@b": 0.8})
    looks = figures._bar_looks(bars)
    assert len({tuple(look.values()) for look in looks}) == len(bars)


def test_budgets_count_what_was_found_when_they_were_reached(tmp_path: Path) -> None:
    table = traces(last=60)
    found = budget_table(table)
    row = found[(found["negotiator"] == "nearest") & (found["questions"] == 50)].iloc[0]
    assert row["found"] == pytest.approx(25 / 50)
    assert row["arrived"] == 50
    assert row["repeats"] == 3
    assert set(found["questions"]) == {25, 50}
    write_parquet(traces(last=10), tmp_path / "few.parquet")
    with pytest.raises(GlitchtraceError, match="no run asks 25 questions"):
        tabulate_questions(traces=[str(tmp_path / "few.parquet")], table=str(tmp_path / "x.csv"))


# --- pairs ------------------------------------------------------------------------------------------------------


def asked() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "example": [0, 1, 2, 3],
            "counter_example": [4, 5, 6, -1],
            "annotated": [0, 0, 1, 1],
            "true_label": [1, 0, 0, 0],
            "counter_annotated": [1, 1, 0, -1],
            "counter_true_label": [1, 0, 1, -1],
        }
    )


def test_pairs_are_chosen_by_what_is_wrong_in_them() -> None:
    chosen = sample_figures.choose_pairs(asked(), 5)
    assert chosen["example"]["example"].tolist() == [0]
    assert chosen["counter"]["example"].tolist() == [1]


def test_pairs_are_drawn_with_the_wrong_label_framed(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (7, 8, 8)).astype(np.uint8)
    write_npy(pictures, tmp_path / "features.npy")
    description = {"modality": "image", "classes": ["cat", "dog"]}
    write_json(description, tmp_path / "source.json")
    write_parquet(asked(), tmp_path / "questions.parquet")
    arguments: dict[str, Any] = {"features": tmp_path / "features.npy", "pairs": 3}
    sample_figures.plot_loop_gallery(
        **arguments, questions=[tmp_path / "questions.parquet"], figures=[tmp_path / "pairs.svg"]
    )
    figure = sample_figures.draw_pairs(sample_figures.choose_pairs(asked(), 3), pictures, ["cat", "dog"])
    texts = [axes.get_xlabel() for part in figure.subfigs for axes in part.axes]
    assert texts == ["label: cat\ntrue: dog", "label: dog", "label: cat", "label: dog\ntrue: cat"]
    write_parquet(asked()[3:], tmp_path / "none.parquet")
    with pytest.raises(GlitchtraceError, match="no pair with a mistake"):
        sample_figures.plot_loop_gallery(**arguments, questions=[tmp_path / "none.parquet"], figures=[])
    write_json({**description, "modality": "table"}, tmp_path / "source.json")
    with pytest.raises(GlitchtraceError, match="needs pictures"):
        sample_figures.plot_loop_gallery(**arguments, questions=[tmp_path / "questions.parquet"], figures=[])
