"""Data of the user's own, named by path: what is read, what is refused, and what decides that it is read again."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glitchtrace.core import grid, provenance, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import read_description
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.tables import standardised

TABLE = """age;price;when;colour;smokes;nurse;y
31;1,5;2024-01-01;red;yes;same;sick
40;;2024-01-03;blue;no;same;well
29;2,5;2024-01-02;;no;same;sick
55;4,0;2024-01-05;red;yes;same;well
"""


MEASURED = "a;b;c;d\n" + "".join(
    f"{n},5;{'xy'[n % 2]};-{n / 7:.4f};{n * n}\n".replace(".", ",") for n in range(60)
)


def complete(name, **settings):
    return {key: each["default"] for key, each in registry.settings("dataset", name).items()} | settings


def read(name, path, **settings):
    return registry.load("dataset", name).read(complete(name, path=str(path), **settings))


@pytest.fixture
def table(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    return tmp_path / "t.csv"


def test_every_kind_of_column_has_its_place(table):
    pool = read("table_file", table, label="y", leave_out=["age"])
    pool.check("mine")
    columns = dict(zip(pool.columns, pool.features.T, strict=True))
    assert list(columns) == ["price", "price missing", "when", "colour", "smokes"]
    np.testing.assert_array_equal(columns["price"], [1.5, 2.5, 2.5, 4.0])
    np.testing.assert_array_equal(columns["price missing"], [0, 1, 0, 0])
    np.testing.assert_array_equal(columns["when"] - columns["when"][0], [0, 2, 1, 4])
    assert pool.categories == {"colour": ("blue", "red", "missing")}
    np.testing.assert_array_equal(columns["colour"], [1, 0, 2, 1])
    assert (pool.class_names, pool.labels.tolist()) == (("sick", "well"), [0, 1, 0, 1])
    assert pool.parts == {"all": (0, 4)}


@pytest.mark.parametrize("names", [["2", "10"], ["-1", "1"], ["a", "b"]])
def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path, names):
    rows = [f"{place},{name}" for place, name in enumerate([*names, *names[::-1]])]
    (tmp_path / "n.csv").write_text("\n".join(["x,y", *rows]))
    assert read("table_file", tmp_path / "n.csv", label="y").class_names == tuple(names)


@pytest.mark.parametrize(
    ("column", "distinct"),
    [
        (1_700_000_000 + np.arange(50), 50),
        (pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(50), unit="s"), 50),
        (2.0**40 + np.arange(50), 50),
    ],
)
def test_large_neighbours_stay_apart(tmp_path, column, distinct):
    frame = pd.DataFrame({"t": column, "y": np.arange(50) % 2})
    frame.to_parquet(tmp_path / "t.parquet")
    assert len(np.unique(read("table_file", tmp_path / "t.parquet", label="y").features)) == distinct


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (TABLE, {}, "which column is the label"),
        (TABLE, {"label": "z"}, "no column 'z' for label"),
        (TABLE, {"label": "y", "leave_out": ["z"]}, "no column 'z' for leave_out"),
        (TABLE, {"label": "y", "leave_out": ["age", 6]}, "'y' is both the label and under leave_out"),
        (TABLE, {"label": "-1"}, r"no column '-1' \(by position 0 to 6\) for label"),
        (TABLE, {"label": "7"}, r"no column '7' \(by position 0 to 6\) for label"),
        (
            MEASURED,
            {"label": "b", "decimal": "."},
            "decimal is '.', but the numbers of a, c have a decimal comma",
        ),
        (MEASURED, {"label": "c"}, "column 'c' holds numbers, 60 different ones in 60 rows, and no classes"),
        (MEASURED, {"label": "d"}, "column 'd' holds numbers, 60 different ones"),
        ("x,y\n1,a\n2,\n3,b\n", {"label": "y"}, "column 'y': line 3 has no label"),
        ("x,y\n1,a\n1,b\n", {"label": "y"}, "no column of numbers"),
        ("x,y\n" + "1,a\n2,b\n" * 60 + "oops,a\n", {"label": "y"}, "line 122 holds 'oops'"),
    ],
)
def test_a_fault_of_a_table_is_one_line(tmp_path, text, settings, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(GlitchtraceError, match=message) as caught:
        read("table_file", tmp_path / "t.csv", **settings)
    assert "\n" not in str(caught.value)


def test_a_stated_decimal_sign_is_taken_where_numbers_allow_it(tmp_path):
    """Commas of thousands are no decimal commas, text may hold commas, and a column may be left out."""
    (tmp_path / "m.csv").write_text(MEASURED)
    found, stated = (read("table_file", tmp_path / "m.csv", label="b", decimal=sign) for sign in (None, ","))
    assert found.columns == stated.columns == ("a", "c", "d")
    np.testing.assert_array_equal(found.features, stated.features)
    left = read("table_file", tmp_path / "m.csv", label="b", decimal=".", leave_out=["a", "c"])
    assert left.columns == ("d",)
    rows = [f"{n},{n % 10}00;{'xy'[n % 2]};{n % 5}.5;{n % 3},x" for n in range(1, 61)]
    (tmp_path / "t.csv").write_text("\n".join(["a;b;c;d", *rows]))
    assert read("table_file", tmp_path / "t.csv", label="b", decimal=".").columns == ("a", "c", "d")


def test_arrays_are_read_by_name(tmp_path):
    features = np.random.default_rng(0).normal(size=(6, 3))
    np.savez(tmp_path / "a.npz", X=features, y=["b", "a"] * 3)
    pool = read("array_file", tmp_path / "a.npz", features="X", labels="y")
    pool.check("mine")
    np.testing.assert_array_equal(pool.features, features.astype(np.float32))
    assert (pool.class_names, pool.labels.tolist()) == (("a", "b"), [1, 0] * 3)
    with pytest.raises(GlitchtraceError, match="features"):
        read("array_file", tmp_path / "a.npz", labels="y")
    np.savez(tmp_path / "p.npz", features=np.zeros((4, 2, 2)), labels=[0, 1, 0, 1])
    with pytest.raises(GlitchtraceError, match=r"shape \(4, 2, 2\)"):
        read("array_file", tmp_path / "p.npz")


def test_pictures_become_squares_and_a_stray_or_broken_one_is_named(tmp_path):
    for name, colour in (("a/1.png", 0), ("a/2.png", 0), ("b/1.jpg", 255), ("b/2.png", 255)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (9, 5), colour).save(tmp_path / name)
    pool = read("picture_folder", tmp_path, side=8)
    pool.check("mine")
    assert pool.features.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(pool.features.reshape(4, -1).max(axis=1), [0, 0, 255, 255])
    assert (pool.class_names, pool.labels.tolist()) == (("a", "b"), [0, 0, 1, 1])
    (tmp_path / "a/3.png").write_bytes(b"no picture")
    with pytest.raises(GlitchtraceError, match=r"a/3.png: cannot be read"):
        read("picture_folder", tmp_path, side=8)
    (tmp_path / "a/3.png").rename(tmp_path / "3.png")
    with pytest.raises(GlitchtraceError, match=r"3.png lies in no class"):
        read("picture_folder", tmp_path, side=8)


def test_rows_are_known_before_the_data_are_read(table, tmp_path):
    np.savez(tmp_path / "a.npz", features=np.zeros((6, 3)), labels=np.arange(6))
    pd.DataFrame({"x": range(7)}).to_parquet(tmp_path / "t.parquet")
    for name, path, rows in (
        ("table_file", table, 5),  # the last line may lack its end
        ("table_file", tmp_path / "t.parquet", 7),
        ("array_file", tmp_path / "a.npz", 6),
    ):
        settings = complete(name, path=str(path), label="x" if path.suffix == ".parquet" else "y")
        assert registry.load("dataset", name).rows(settings) >= rows - 1
    settings = {
        **complete("array_file", path=str(tmp_path / "a.npz")),
        "test_size": 1,
        "subset_size": None,
        "subset_ratio": None,
        "validation_source": None,
        "holdout_ratio": 0.4,
    }
    assert grid.sizes("array_file@mine", settings) == (3, 2)
    with pytest.raises(GlitchtraceError, match=r"\.labels: .*no array 'y' in it, but features, labels;"):
        grid.sizes("array_file@mine", {**settings, "labels": "y"})


def test_variants_are_sources_of_their_own_and_need_a_path_that_is_there(table):
    assert registry.source_of("table_file@mine") == "table_file@mine"
    assert registry.source_of("wine@mine") == "wine"
    assert grid.sources("table_file@mine", "uniform", {}) == ("table_file@mine",)

    def problem(**settings):
        return grid.illegal_data(
            "table_file@mine",
            "uniform",
            "0.1",
            {"dataset": {"table_file@mine": complete("table_file", **settings)}},
        )

    assert problem(path=str(table), label="y") is None
    assert problem(path=str(table), label=6) is None
    assert "has no path" in problem(path=None)
    assert "there is no nowhere.csv" in problem(path="nowhere.csv")
    for key, settings in (("label", {"label": "z"}), ("leave_out", {"label": "y", "leave_out": ["z"]})):
        with pytest.raises(
            GlitchtraceError, match=rf"^datasets\.table_file@mine\.{key}: .*no column 'z' .* y$"
        ):
            problem(path=str(table), **settings)
    with pytest.raises(GlitchtraceError, match=r"\.label: .*which column is the label is not said"):
        problem(path=str(table))
    with pytest.raises(GlitchtraceError, match=r"\.subset_size: 9 is above the 5 rows there are; write 5"):
        problem(path=str(table), label="y", subset_size=9)


def test_content_and_names_count_and_dates_do_not(table, tmp_path):
    def state(path):
        return provenance.own_files("dataset", "table_file@mine", str(path))

    for path in (table, tmp_path):
        before = state(path)
        os.utime(table, (1, 1))
        assert state(path) == before
        table.write_text(table.read_text() + "1;1,0;2024-01-01;red;no;same;well\n")
        assert state(path) != before
    before = state(tmp_path)
    table.rename(tmp_path / "u.csv")
    assert state(tmp_path) != before


def test_the_stage_writes_the_source_of_a_variant(table, tmp_path):
    fetch_data(
        dataset="table_file@mine",
        features=tmp_path / "features.npy",
        labels=tmp_path / "labels.npy",
        description=tmp_path / "source.json",
        settings={
            "path": str(table),
            "label": "y",
            "leave_out": [],
            "delimiter": None,
            "encoding": None,
            "decimal": None,
        },
    )
    description = read_description(tmp_path / "source.json")
    assert description["classes"] == ["sick", "well"]
    assert list(description["checksums"]) == ["t.csv"]


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [
        ([1.5, -2.0, 1e30], True),
        ([1_700_000_000.0, 1_700_000_001.0, 1_700_000_003.0], False),
        ([1.0, 2.0, 1e39], False),
        ([0.0, 1e-60, 2e-60], False),
        ([0.0, 1e-200, 2e-200], False),
        ([-1e308, 1e308, 1.5e308], False),
        ([1e39, 1e39, 1e39], False),
    ],
)
@pytest.mark.filterwarnings("error")
def test_numbers_are_finite_and_in_order_in_float32(numbers: list[float], kept: bool) -> None:
    stored = standardised(np.array(numbers))
    assert stored.dtype == np.float32
    assert np.isfinite(stored).all()
    assert bool(abs(stored.mean()) < 1e-6) is not kept
    np.testing.assert_array_equal(np.argsort(stored, kind="stable"), np.argsort(numbers, kind="stable"))
