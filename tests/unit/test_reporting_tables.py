"""Tables for readers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.reporting import tables

SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=6)
CELL = {
    "dataset": "mnist",
    "model": "resnet20",
    "glitch": "mixture",
    "ratio": "native",
    "estimator": "tracin",
}


def summary(values: dict[tuple[str, str], list[float]], **keys: str) -> pd.DataFrame:
    """A tidy summary with one value per seed of each (signal, metric)."""
    return pd.DataFrame(
        {**CELL, **keys, "seed": seed, "signal": signal, "metric": metric, "value": value}
        for (signal, metric), series in values.items()
        for seed, value in enumerate(series)
    )


MIXED = {
    ("CFRank", "f1"): [0.85, 0.87],
    ("CNCI", "f1"): [0.5, 0.52],
    ("PCID", "f1"): [0.0, 0.0],
    ("CFRank", "characterisation_accuracy_mislabelled"): [1.0, np.nan],
    ("CFRank", "characterisation_accuracy_anomalous"): [np.nan, np.nan],
}


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(-1, 1) | st.just(np.nan)), min_size=1, max_size=20)
)
@settings(deadline=None, derandomize=True, max_examples=30)
def test_aggregate_agrees_with_pandas(rows: list[tuple[str, float]]) -> None:
    table = pd.DataFrame(rows, columns=["key", "value"]).assign(other="x")
    found = tables.aggregate(table, ["key", "other"]).set_index("key")
    expected = table.groupby("key", sort=False)["value"].agg(["mean", "std", "count"])
    assert list(found.index) == list(expected.index)
    np.testing.assert_allclose(found[["mean", "std", "n"]], expected, rtol=1e-12, atol=1e-12)


@given(SHARES)
@settings(deadline=None, derandomize=True, max_examples=50)
def test_clipped_deviation_stays_in_the_unit_interval_and_holds_the_mean(values: list[float]) -> None:
    low, high = tables.clipped_deviation(pd.Series(values))
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    assert 0 <= low <= high <= 1
    assert low == pytest.approx(max(0, mean - deviation), abs=1e-12)
    assert high == pytest.approx(min(1, mean + deviation), abs=1e-12)


def test_one_seed_has_no_deviation() -> None:
    assert np.isnan(tables.clipped_deviation(pd.Series([0.4]))).all()
    assert tables.mean_and_deviation(np.array([0.4])) == "0.400"
    assert tables.mean_and_deviation(np.array([np.nan])) == "–"
    assert tables.mean_and_deviation(np.array([0.25, 0.75]), 2) == "0.50 ± 0.35"


def test_summary_table_has_a_row_per_cell_and_names_the_estimator_only_where_there_are_several() -> None:
    first, second = summary(MIXED), summary(MIXED, dataset="fmnist")
    columns = {"F1": ("CFRank", "f1")}
    found = tables.summary_table(pd.concat([first, second]), columns)
    assert list(found["dataset"]) == ["Fashion-MNIST", "MNIST"]
    assert list(found["F1"]) == ["0.860 ± 0.014"] * 2
    assert list(found["seeds"]) == [2, 2]
    assert "estimator" not in found
    both = tables.summary_table(pd.concat([first, summary(MIXED, estimator="captum_tracincp")]), columns)
    assert both["estimator"].nunique() == 2


def test_summary_table_leaves_out_cells_without_the_quantities() -> None:
    other = summary({("SI", "f1"): [0.3]}, dataset="fmnist")
    found = tables.summary_table(pd.concat([summary(MIXED), other]), {"F1": ("CFRank", "f1")})
    assert list(found["dataset"]) == ["MNIST"]


def test_markdown_keeps_values_as_they_stand() -> None:
    lines = tables.markdown_table(pd.DataFrame({"a": ["0.10", "x"], "b": [1, 20]})).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])] == [
        ["a", "b"],
        ["0.10", "1"],
        ["x", "20"],
    ]
    assert set(lines[1]) <= set("|:-")


def test_tabulate_mixed_writes_detection_and_characterisation(tmp_path: Path) -> None:
    other = summary({("CFRank", "f1"): [0.1, 0.2]}, glitch="uniform", ratio="0.1")
    pd.concat([other, summary(MIXED)]).to_parquet(tmp_path / "summary.parquet")
    tables.tabulate_mixed(
        summary=tmp_path / "summary.parquet", table=tmp_path / "mixed.md", csv=tmp_path / "mixed.csv"
    )
    rows = (tmp_path / "mixed.md").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 3
    assert [cell.strip() for cell in rows[2].strip("|").split("|")][3:] == [
        "2",
        "0.860 ± 0.014",
        "0.510 ± 0.014",
        "0.000 ± 0.000",
        "1.000",
        "–",
    ]


def test_tabulate_mixed_refuses_a_study_without_mixtures(tmp_path: Path) -> None:
    summary({("CFRank", "f1"): [0.1, 0.2]}).to_parquet(tmp_path / "summary.parquet")
    with pytest.raises(GlitchtraceError, match=r"summary\.parquet has no cell with several kinds"):
        tables.tabulate_mixed(
            summary=tmp_path / "summary.parquet", table=tmp_path / "mixed.md", csv=tmp_path / "mixed.csv"
        )
    assert not (tmp_path / "mixed.md").exists()


def test_csv_is_repeatable_and_keeps_six_digits(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["a", "b"], "value": [1 / 3, np.nan], "n": [5, 0]})
    for name in ("first.csv", "second.csv"):
        tables.write_csv(frame, tmp_path / name)
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert (tmp_path / "first.csv").read_text() == "name,value,n\na,0.333333,5\nb,,0\n"
