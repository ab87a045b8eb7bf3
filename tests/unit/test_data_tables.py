"""Tables with categories: encoding, the files of Adult, German credit and 20 Newsgroups, and the vector view."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import OneHotEncoder

from glitchtrace import files, registry
from glitchtrace.data.cells import load_cell
from glitchtrace.data.datasets import adult, german, newsgroups
from glitchtrace.data.description import category_counts, read_description
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.pool import Pool
from glitchtrace.data.preprocess import VectorInputs, standardisation
from glitchtrace.data.raw_files import RawFile
from glitchtrace.data.tables import encode, read_frame
from glitchtrace.errors import GlitchtraceError
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
    card, pool = registry.card("dataset", "adult"), adult.load(data_root)
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
    frame = read_frame(data_root / adult.TABLE.path)
    official = {}
    for part, mark, head in (("train", "", ""), ("test", ".", "|1x3 Cross validator\n")):
        rows = frame[frame["split"] == part].iloc[:200].fillna("?")
        lines = [", ".join(map(str, row)) + mark for row in rows[[*adult.COLUMNS, "class"]].to_numpy()]
        content = (head + "\n".join(lines) + "\n\n").encode()
        official[part] = put(tmp_path, f"adult/adult.{part}", content)
    monkeypatch.setattr(adult, "OFFICIAL", official)
    pool = adult.load(tmp_path)
    short = pd.concat([frame[frame["split"] == part].iloc[:200] for part in ("train", "test")])
    monkeypatch.setattr(adult, "find", lambda raw, root: raw)
    monkeypatch.setattr(adult, "read_frame", lambda path: short)
    expected = adult.load(tmp_path)
    np.testing.assert_array_equal(pool.features, expected.features)
    np.testing.assert_array_equal(pool.labels, expected.labels)
    assert pool.categories == expected.categories
    assert set(pool.checksums) == {"adult/adult.train", "adult/adult.test"}


@pytest.mark.data
def test_german_credit_is_the_same_from_the_file_of_uci(tmp_path, data_root):
    expected = german.load(data_root)
    rows = read_frame(data_root / german.TABLE.path).to_numpy()
    # The official checksum holds for these bytes.
    put(tmp_path, german.OFFICIAL.path, "".join(" ".join(map(str, row)) + "\n" for row in rows).encode())
    pool = german.load(tmp_path)
    np.testing.assert_array_equal(pool.features, expected.features)
    np.testing.assert_array_equal(pool.labels, expected.labels)
    assert pool.categories == expected.categories
    assert pool.checksums == {german.OFFICIAL.path: german.OFFICIAL.checksum}


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
    pool = newsgroups.load(data_root)
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
