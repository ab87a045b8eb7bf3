"""Tables: encoding, categories, the vector view, and the files of each dataset."""

import gzip
import io
import tarfile
import types
from http.client import IncompleteRead
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import OneHotEncoder

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import load_cell
from glitchtrace.data.datasets import forest_cover
from glitchtrace.data.datasets import tables as family
from glitchtrace.data.datasets import text as newsgroups
from glitchtrace.data.datasets.forest_cover import fold
from glitchtrace.data.description import category_counts, read_description
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.pool import Pool
from glitchtrace.data.preprocess import VectorInputs, standardisation
from glitchtrace.data.raw_files import RawFile
from glitchtrace.data.tables import encode, read_frame
from glitchtrace.glitches.stage import inject_glitch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home, so that no test sees or fills the user's cache."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# --- encoding ------------------------------------------------------------------------------------------

FRAME = pd.DataFrame(
    {
        "colour": ["red", "blue", None, "red"],
        "size": [1.5, 2.0, 3.0, -1.0],
        "shape": ["round", "round", "long", "long"],
        "class": ["b", "a", "a", "b"],
    }
)


def encoded(frame: pd.DataFrame = FRAME, **changes) -> Pool:
    options = {
        "origin": "toys",
        "columns": ("colour", "size", "shape"),
        "categorical": ("colour", "shape"),
        "label": "class",
        "classes": {"a": "first", "b": "second"},
        "parts": {"all": (0, len(frame))},
        "checksums": {},
    }
    return encode(frame, **{**options, **changes})


def test_categories_are_sorted_and_a_missing_one_is_the_last():
    pool = encoded()
    assert pool.categories == {"colour": ("blue", "red", "missing"), "shape": ("long", "round")}
    np.testing.assert_array_equal(pool.features, [[1, 1.5, 1], [0, 2, 1], [2, 3, 0], [1, -1, 0]])
    assert pool.features.dtype == np.float32
    np.testing.assert_array_equal(pool.labels, [1, 0, 0, 1])
    assert pool.class_names == ("first", "second")
    pool.check("toys")


def test_a_missing_number_is_refused():
    with pytest.raises(GlitchtraceError, match="dataset toys: features of row 1 are NaN"):
        encoded(FRAME.assign(size=[1.0, None, 2.0, 3.0])).check("toys")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.drop(columns="size"), "toys: column 'size' is missing .* the table has colour, shape"),
        (FRAME.drop(columns="class"), "toys: column 'class' is missing"),
        (
            FRAME.assign(size=["1", "2", "large", "4"]),
            "toys: column 'size' holds 'large' in row 2, .* no number",
        ),
        (FRAME.assign(**{"class": list("abca")}), "toys: column 'class' holds 'c' in row 2, .* known: a, b"),
    ],
)
def test_wrong_columns_are_one_line_that_names_them(frame, message):
    with pytest.raises(GlitchtraceError, match=message) as caught:
        encoded(frame)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ("a",)}, r"1 names of columns for features of shape \(4, 2\)"),
        ({"columns": ("a", "a")}, "two columns are named 'a'"),
        ({"categories": {"c": ("x",)}}, "categories of 'c', which is no column; known: a, b"),
        ({"categories": {"b": ("x",)}}, "column 'b' holds 1 in row 2, which is no code of its 1 categories"),
        ({"categories": {"a": ("x", "y")}}, "column 'a' holds 0.5 in row 1"),
        ({"columns": None, "categories": {"a": ("x",)}}, "categories of a, but no columns"),
    ],
)
def test_wrong_categories_are_one_line_that_names_the_dataset(changes, message):
    good = {
        "features": np.array([[0, 0], [0.5, 0], [0, 1], [1, 1]], dtype=np.float32),
        "labels": np.array([0, 0, 1, 1]),
        "class_names": ("x", "y"),
        "parts": {"all": (0, 4)},
        "columns": ("a", "b"),
        "categories": {"b": ("no", "yes")},
    }
    Pool(**good).check("mine")
    with pytest.raises(GlitchtraceError, match=f"^dataset mine: {message}") as caught:
        Pool(**{**good, **changes}).check("mine")
    assert "\n" not in str(caught.value)


def test_a_file_of_another_format_is_named(tmp_path):
    (tmp_path / "table.parquet").write_bytes(b"no table")
    with pytest.raises(GlitchtraceError, match=r"table\.parquet: not a parquet file \("):
        read_frame(tmp_path / "table.parquet")


# --- the vector view -----------------------------------------------------------------------------------


def test_categories_become_zeros_and_ones_as_scikit_learn_makes_them():
    rng = np.random.default_rng(0)
    counts = (3, 0, 5, 0)
    stored = np.stack([rng.integers(0, c, 40) if c else rng.normal(3, 2, 40) for c in counts], axis=1).astype(
        np.float32
    )
    mean, std = standardisation(stored[:30])
    inputs = VectorInputs(stored, mean, std, counts)
    assert inputs.shape == (2 + 3 + 5,)
    categories = [np.arange(c) for c in counts if c]
    codes = OneHotEncoder(categories=categories, sparse_output=False).fit_transform(stored[:, [0, 2]])
    numbers = (stored[:, [1, 3]] - stored[:30, [1, 3]].mean(0)) / stored[:30, [1, 3]].std(0)
    whole = inputs.batch(slice(None)).numpy()
    np.testing.assert_allclose(whole, np.hstack([numbers, codes]), atol=1e-5)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(inputs.batch(np.array([7, 3])).numpy(), whole[[7, 3]])


def test_a_table_of_categories_alone_has_no_numbers():
    stored = np.array([[0], [2]], dtype=np.float32)
    inputs = VectorInputs(stored, *standardisation(stored), counts=(3,))
    np.testing.assert_array_equal(inputs.batch(slice(None)).numpy(), [[1, 0, 0], [0, 0, 1]])


# --- Adult, German credit, 20 Newsgroups ---------------------------------------------------------------


def fetch(folder: Path, dataset: str, root: Path) -> dict:
    names = {"features": "features.npy", "labels": "labels.npy", "description": "source.json"}
    fetch_data(dataset=dataset, data_root=root, **{key: folder / name for key, name in names.items()})
    return read_description(folder / "source.json")


@pytest.mark.data
def test_a_cell_of_german_credit_has_its_categories_as_zeros_and_ones(tmp_path, data_root):
    description = fetch(tmp_path / "german", "german", data_root)
    assert category_counts(description).count(0) == 7
    assert description["categories"]["foreign_worker"] == ["A201", "A202"]
    assert description["classes"] == ["good", "bad"]
    split = pd.DataFrame(
        {"row": np.arange(1000), "part": ["train"] * 600 + ["validation"] * 200 + ["test"] * 200}
    )
    split["label"] = np.load(tmp_path / "german/labels.npy")
    files.write_parquet(split, tmp_path / "split.parquet")
    inject_glitch(
        split=tmp_path / "split.parquet",
        labels=[tmp_path / "german/labels.npy"],
        descriptions=[tmp_path / "german/source.json"],
        glitch=tmp_path / "glitch.parquet",
        dataset="german",
        name="none",
        ratio="clean",
        seed=0,
        settings={},
    )
    cell = load_cell(
        features=[tmp_path / "german/features.npy"],
        split=tmp_path / "split.parquet",
        glitch=tmp_path / "glitch.parquet",
        dataset="german",
        view="vector",
    )
    categories = sum(map(len, description["categories"].values()))
    assert cell.train.shape == cell.test.shape == (7 + categories,)
    train = cell.train.batch(slice(None)).numpy()
    np.testing.assert_allclose(train[:, :7].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train[:, :7].std(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(train[:, 7:].sum(axis=1), 13)
    assert set(np.unique(train[:, 7:])) == {0.0, 1.0}


@pytest.mark.data
def test_adult_is_what_its_card_says(data_root):
    card, pool = registry.card("dataset", "adult"), family.load_adult(data_root)
    pool.check("adult")
    assert {part: end - first for part, (first, end) in pool.parts.items()} == card["rows"]
    for part, counts in (("train", (24720, 7841)), ("test", (12435, 3846))):
        assert tuple(np.bincount(pool.labels[slice(*pool.parts[part])])) == counts
    assert pool.categories["workclass"][-1] == "missing"
    missing = {name: names.index("missing") for name, names in pool.categories.items() if "missing" in names}
    found = {
        name: int((pool.features[:, pool.columns.index(name)] == code).sum())
        for name, code in missing.items()
    }
    assert found == {"workclass": 2799, "occupation": 2809, "native-country": 857}


@pytest.mark.data
def test_adult_is_the_same_from_the_files_of_uci(tmp_path, data_root, monkeypatch):
    frame = read_frame(data_root / family.ADULT.path)
    official = {}
    for part, mark, head in (("train", "", ""), ("test", ".", "|1x3 Cross validator\n")):
        rows = frame[frame["split"] == part].iloc[:200].fillna("?")
        lines = [", ".join(map(str, row)) + mark for row in rows[[*family.ADULT_COLUMNS, "class"]].to_numpy()]
        content = (head + "\n".join(lines) + "\n\n").encode()
        official[part] = put(tmp_path, f"adult/adult.{part}", content)
    monkeypatch.setattr(family, "ADULT_OFFICIAL", official)
    pool = family.load_adult(tmp_path)
    short = pd.concat([frame[frame["split"] == part].iloc[:200] for part in ("train", "test")])
    monkeypatch.setattr(family, "find", lambda raw, root: raw)
    monkeypatch.setattr(family, "read_frame", lambda path: short)
    expected = family.load_adult(tmp_path)
    np.testing.assert_array_equal(pool.features, expected.features)
    np.testing.assert_array_equal(pool.labels, expected.labels)
    assert pool.categories == expected.categories
    assert set(pool.checksums) == {"adult/adult.train", "adult/adult.test"}


@pytest.mark.data
def test_german_credit_is_the_same_from_the_file_of_uci(tmp_path, data_root):
    expected = family.load_german(data_root)
    rows = read_frame(data_root / family.GERMAN.path).to_numpy()
    # The official checksum holds for these bytes.
    put(
        tmp_path,
        family.GERMAN_OFFICIAL.path,
        "".join(" ".join(map(str, row)) + "\n" for row in rows).encode(),
    )
    pool = family.load_german(tmp_path)
    np.testing.assert_array_equal(pool.features, expected.features)
    np.testing.assert_array_equal(pool.labels, expected.labels)
    assert pool.categories == expected.categories
    assert pool.checksums == {family.GERMAN_OFFICIAL.path: family.GERMAN_OFFICIAL.checksum}


def put(root: Path, path: str, content: bytes) -> RawFile:
    import hashlib

    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return RawFile(path, f"md5:{hashlib.md5(content).hexdigest()}")


@pytest.mark.data
def test_newsgroups_are_what_their_card_says_and_keep_their_classes_apart(data_root, monkeypatch):
    monkeypatch.setattr(
        newsgroups, "reduce", lambda *texts: [np.zeros((len(t), 1), np.float32) for t in texts]
    )
    monkeypatch.setattr(newsgroups, "DIMENSIONS", 1)
    pool = newsgroups.load_newsgroups(data_root)
    pool.check("newsgroups")
    assert {p: end - first for p, (first, end) in pool.parts.items()} == registry.card(
        "dataset", "newsgroups"
    )["rows"]
    assert pool.class_names[0] == "alt.atheism"
    assert pool.class_names[-1] == "talk.religion.misc"
    frame = read_frame(data_root / newsgroups.TABLE.path)
    np.testing.assert_array_equal(
        pool.labels, frame.sort_values("split", ascending=False, kind="stable")["target"]
    )


@pytest.mark.data
def test_the_official_archive_is_read_in_the_order_of_the_table(tmp_path, data_root):
    frame = read_frame(data_root / newsgroups.TABLE.path)
    rows = frame[frame["split"] == "test"]
    members = {
        f"20news-bydate-test/{row.newsgroup}/{row.file}": row.text[:40]
        for row in rows.itertuples(index=False)
    }
    archive(tmp_path / "20news.tar.gz", dict(sorted(members.items(), reverse=True)))
    texts, groups = newsgroups.read_postings(tmp_path / "20news.tar.gz", "20news-bydate-test")
    assert groups == rows["newsgroup"].tolist()
    assert texts == [text[:40] for text in rows["text"]]


def archive(path: Path, members: dict[str, str]) -> None:
    with gzip.open(path, "wb", compresslevel=1) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for name, text in members.items():
            content = text.encode("latin1")
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def test_an_archive_that_is_none_or_has_another_folder_is_named(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    with pytest.raises(GlitchtraceError, match=r"a\.tar\.gz: not the official archive"):
        newsgroups.read_postings(tmp_path / "a.tar.gz", "20news-bydate-train")
    archive(tmp_path / "b.tar.gz", {"elsewhere/sci.med/1": "text"})
    with pytest.raises(GlitchtraceError, match=r"b\.tar\.gz: it has no folder 20news-bydate-train"):
        newsgroups.read_postings(tmp_path / "b.tar.gz", "20news-bydate-train")


def test_texts_are_reduced_by_what_the_training_texts_know(monkeypatch):
    words = [f"word{number:02d}" for number in range(40)]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words[(i % 2) * 20 :][:20], 15)) for i in range(60)]
    monkeypatch.setattr(newsgroups, "DIMENSIONS", 5)
    train, test = newsgroups.reduce(texts[:50], texts[50:])
    assert train.shape == (50, 5)
    assert train.dtype == test.dtype == np.float32
    again, other = newsgroups.reduce(texts[:50], ["unknown", *texts[51:]])
    np.testing.assert_array_equal(again, train)
    np.testing.assert_array_equal(other[1:], test[1:])
    assert (other[0] == 0).all()
    # Two topics without a common word: the first two directions tell them apart.
    topics = np.arange(60) % 2
    centres = np.stack([train[topics[:50] == topic, :2].mean(axis=0) for topic in (0, 1)])
    nearest = np.linalg.norm(test[:, None, :2] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, topics[50:])


# --- Forest Cover, Jannis, Epsilon ---------------------------------------------------------------------


def covers(rows: int = 40, seed: int = 0) -> np.ndarray:
    """Rows of the official file of Forest Cover, the label last."""
    rng = np.random.default_rng(seed)
    table = np.zeros((rows, 55), dtype=np.int16)
    table[:, :10] = rng.integers(-200, 7000, (rows, 10))
    table[np.arange(rows), 10 + np.arange(rows) % 4] = 1
    table[np.arange(rows), 14 + rng.permutation(rows) % 40] = 1
    table[:, 54] = np.arange(rows) % 7 + 1
    return table


def test_groups_of_zeros_and_ones_become_two_categories_and_back():
    table = covers()
    pool = fold(table[:, :-1], table[:, -1], "toy", {})
    pool.check("toy")
    assert pool.features.shape == (40, 12)
    assert pool.columns[10:] == ("Wilderness_Area", "Soil_Type")
    np.testing.assert_array_equal(pool.labels, table[:, -1] - 1)
    counts = (0,) * 10 + (4, 40)
    vectors = VectorInputs(pool.features, np.zeros(12), np.ones(12), counts).batch(slice(None)).numpy()
    np.testing.assert_array_equal(vectors, table[:, :-1])


@pytest.mark.parametrize(("column", "value"), [(10, 1), (14, 2), (13, 0)])
def test_a_row_in_none_or_several_categories_is_refused(column, value):
    table = covers()
    row = 3 if (column, value) != (10, 1) else 1
    table[row, column] = value
    with pytest.raises(GlitchtraceError, match=f"toy: row {row} is not in exactly one of the columns"):
        fold(table[:, :-1], table[:, -1], "toy", {})


def test_the_official_file_of_forest_cover_is_read(tmp_path, monkeypatch):
    table = covers()
    content = "\n".join(",".join(map(str, row)) for row in table.tolist()).encode()
    monkeypatch.setattr(forest_cover, "OFFICIAL", put(tmp_path, "covtype.data.gz", gzip.compress(content)))
    pool = forest_cover.load_all(tmp_path)
    np.testing.assert_array_equal(pool.features[:, :10], table[:, :10])
    assert pool.checksums["covtype.data.gz"].startswith("md5:")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2,3\n", "3 columns, 55 expected"),
        (b"a,b\n", "not the official file"),
        (b"", "not the official file"),
    ],
)
def test_another_file_of_forest_cover_is_refused(tmp_path, content, message):
    (tmp_path / "covtype.data.gz").write_bytes(gzip.compress(content))
    with pytest.raises(GlitchtraceError, match=rf"covtype\.data\.gz: {message}"):
        forest_cover.read_rows(tmp_path / "covtype.data.gz")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("covtype_sample", [33894, 45328, 5721, 439, 1519, 2779, 3282]),
        ("jannis_sample", [607, 10365, 5304, 13869]),
        ("epsilon_sample", [54 + 64, 46 + 36]),
    ],
)
def test_a_sample_at_hand_is_what_its_card_says(name, counts, data_root):
    card, pool = registry.card("dataset", name), registry.load("dataset", name).load(data_root)
    pool.check(name)
    assert {part: end - first for part, (first, end) in pool.parts.items()} == card["rows"]
    assert len(pool.class_names) == card["classes"]
    assert list(np.bincount(pool.labels)) == counts
    assert pool.features.dtype == np.float32


def test_jannis_is_the_table_of_openml(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(12, 54)), columns=list(family.JANNIS_COLUMNS))
    frame["class"] = pd.Categorical([str(i % 4) for i in range(12)])
    bunch = types.SimpleNamespace(frame=frame, details={"md5_checksum": "0"})
    asked = {}
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **options: asked.update(options) or bunch)
    pool = family.load_jannis(tmp_path)
    pool.check("jannis")
    assert asked["data_id"] == 41168
    assert asked["data_home"] == str(tmp_path)
    np.testing.assert_array_equal(pool.labels, np.arange(12) % 4)
    np.testing.assert_array_equal(pool.features, frame.iloc[:, :54].astype(np.float32))


@pytest.mark.parametrize(
    "error", [OSError("no\nnetwork"), ValueError("md5 checksum differs"), IncompleteRead(b"")]
)
def test_openml_out_of_reach_is_one_line_with_a_remedy(tmp_path, monkeypatch, error):
    def fail(**_options):
        raise error

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fail)
    with pytest.raises(
        GlitchtraceError, match=r"jannis \(OpenML 41168\) is not in .*GLITCHTRACE_DATA"
    ) as caught:
        family.load_jannis(tmp_path)
    assert "\n" not in str(caught.value)


def epsilon_archive(path: Path, rows: dict[str, np.ndarray]) -> None:
    members = {
        f"epsilon/{part}.tsv": "".join("\t".join(map(repr, row.tolist())) + "\n" for row in table)
        for part, table in rows.items()
    }
    archive(path, members)


def test_epsilon_is_read_line_by_line_in_any_order_of_its_files(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    tables = {}
    for part, count in (("test", 3), ("train", 5)):
        tables[part] = rng.normal(size=(count, 2001)).astype(np.float32)
        tables[part][:, 0] = np.where(np.arange(count) % 2, 1, -1)
    epsilon_archive(tmp_path / "e.tar.gz", tables)
    features, labels = family.read_epsilon(tmp_path / "e.tar.gz", {"train": 5, "test": 3})
    np.testing.assert_array_equal(labels, [0, 1, 0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(features, np.concatenate([tables["train"], tables["test"]])[:, 1:])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"train": (5, 2001), "test": (2, 2001)}, "test.tsv has 2 rows, 3 expected"),
        ({"train": (5, 2001), "test": (3, 7)}, "not the expected archive"),
        ({"train": (5, 2001)}, "it lacks train.tsv or test.tsv"),
        ({"train": (6, 2001), "test": (9, 2001)}, "not the expected archive"),
    ],
)
def test_another_archive_of_epsilon_is_refused(tmp_path, rows, message):
    epsilon_archive(tmp_path / "e.tar.gz", {part: np.ones(shape) for part, shape in rows.items()})
    with pytest.raises(GlitchtraceError, match=rf"e\.tar\.gz: .*{message}"):
        family.read_epsilon(tmp_path / "e.tar.gz", {"train": 5, "test": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categorical": ["a typo"]}, "categorical 'a typo' is no feature; known: a, b"),
        ({"columns": ["a", "y"]}, "the label 'y' is among the features"),
        ({"columns": ["a", "id"]}, r"column 'id' holds .*16777217.* in row 1, an integer above 2\^24"),
    ],
)
def test_what_a_table_must_not_ask_for_is_refused(changes, message):
    frame = pd.DataFrame({"a": [1.5, 2.0], "b": ["x", "z"], "y": [0, 1], "id": [16_777_216, 16_777_217]})
    options = {"columns": ["a", "b"], "categorical": ["b"], "label": "y", **changes}
    options["categorical"] = [
        name for name in options["categorical"] if name != "b" or "b" in options["columns"]
    ]
    with pytest.raises(GlitchtraceError, match=message):
        encode(frame, origin="made", classes={0: "0", 1: "1"}, parts={"all": (0, 2)}, checksums={}, **options)


def test_a_column_of_two_and_a_table_without_rows_are_one_line():
    frame = pd.DataFrame({"a": [1.0, 2.0], "y": ["x", "z"]})
    about = {
        "origin": "toys",
        "columns": ["a"],
        "categorical": [],
        "label": "y",
        "classes": {"x": "x", "z": "z"},
        "parts": {"all": (0, 2)},
        "checksums": {},
    }
    encode(frame, **about)
    twice = pd.concat([frame, frame[["a"]]], axis=1)
    labelled_twice = pd.concat([frame, frame[["y"]]], axis=1)
    for table, changes, message in (
        (twice, {}, "toys: the table has 'a' twice"),
        (labelled_twice, {}, "toys: the table has 'y' twice"),
        (frame, {"columns": ["a", "a"]}, "toys: columns names 'a' twice"),
        (frame.iloc[:0], {}, "toys: the table has no rows"),
        (pd.DataFrame(), {}, "toys: column 'a' is missing"),
    ):
        with pytest.raises(GlitchtraceError, match=message) as caught:
            encode(table, **{**about, **changes})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pd.date_range("2024-01-01", periods=4, freq="s"), "holds time stamps"),
        (1.7e9 + np.arange(4) / 4, "would make the same"),
    ],
)
def test_a_time_stamp_is_refused_by_name(values, message):
    frame = pd.DataFrame({"when": values, "y": [0, 1, 0, 1]})
    with pytest.raises(GlitchtraceError, match=f"column 'when' .*{message}"):
        encode(
            frame,
            origin="t",
            columns=["when"],
            categorical=[],
            label="y",
            classes={0: "a", 1: "b"},
            parts={"all": (0, 4)},
            checksums={},
        )
