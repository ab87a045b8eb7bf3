"""The stages ``fetch_data`` and ``prepare_data``, from files to files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.datasets.scikit_learn import COMPONENTS
from glitchtrace.data.description import read_description
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.pool import Pool, Reader
from glitchtrace.data.prepare import prepare_data

NAMES = {"features": "features.npy", "labels": "labels.npy", "description": "source.json"}
SETTINGS = {
    "subset_ratio": None,
    "subset_size": None,
    "validation_source": None,
    "validation_ratio": None,
    "holdout_ratio": 0.2,
    "test_ratio": 0.2,
    "test_size": None,
}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fetch(folder, dataset: str, **options) -> dict:
    fetch_data(dataset=dataset, **{key: folder / name for key, name in NAMES.items()}, **options)
    return read_description(folder / "source.json")


def prepare(folder, seed: int = 0, target: str = "split.parquet", **settings) -> pd.DataFrame:
    prepare_data(
        dataset="wine@mine",
        labels=folder / "labels.npy",
        description=folder / "source.json",
        split=folder / target,
        seed=seed,
        settings={**SETTINGS, **settings},
    )
    return pd.read_parquet(folder / target)


def test_a_table_is_written_with_its_description(tmp_path):
    description = fetch(tmp_path, "wine@mine")
    features = np.load(tmp_path / "features.npy", mmap_mode="r")
    labels = np.load(tmp_path / "labels.npy")
    assert features.shape == (178, 13)
    assert features.dtype == np.float32
    assert list(np.bincount(labels)) == [59, 71, 48]
    assert description["modality"] == "table"
    assert description["classes"] == ["class_0", "class_1", "class_2"]
    assert description["parts"] == {"all": [0, 178]}
    assert description["columns"][0] == "alcohol"
    assert description["checksums"]["arrays"].startswith("sha256:")


def test_pictures_have_no_columns(tmp_path):
    assert fetch(tmp_path, "digits")["columns"] is None


def test_the_same_dataset_gives_the_same_bytes(tmp_path):
    fetch(tmp_path / "a", "iris")
    fetch(tmp_path / "b", "iris")
    for name in NAMES.values():
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_unusable_data_leave_no_file(tmp_path, monkeypatch):
    bad = Pool(np.full((4, 1), np.nan, dtype=np.float32), np.array([0, 0, 1, 1]), ("a", "b"), {"all": (0, 4)})
    monkeypatch.setitem(COMPONENTS, "wine", Reader(lambda data_root: bad))
    with pytest.raises(GlitchtraceError, match="dataset wine: features of row 0"):
        fetch(tmp_path, "wine")
    assert names_in(tmp_path) == []


def test_a_dataset_that_loads_no_pool_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(COMPONENTS, "iris", Reader(lambda root: None))
    with pytest.raises(GlitchtraceError, match=r"^dataset iris \(\S+\.py\): load returned NoneType"):
        fetch(tmp_path, "iris")


def test_an_unknown_dataset_lists_the_known_ones(tmp_path):
    with pytest.raises(GlitchtraceError, match=r"unknown dataset 'whine'; known: .*wine"):
        fetch(tmp_path, "whine")


@pytest.mark.parametrize("given", [True, False])
def test_the_data_folder_is_the_argument_else_the_environment_else_none(tmp_path, monkeypatch, given):
    seen = []

    def load(data_root):
        seen.append(data_root)
        raise GlitchtraceError("seen")

    monkeypatch.setitem(COMPONENTS, "wine", Reader(load))
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path / "environment"))
    with pytest.raises(GlitchtraceError):
        fetch(tmp_path, "wine", data_root=str(tmp_path / "argument") if given else None)
    monkeypatch.delenv("GLITCHTRACE_DATA")
    with pytest.raises(GlitchtraceError):
        fetch(tmp_path, "wine")
    assert seen == [tmp_path / ("argument" if given else "environment"), None]


def test_a_split_is_written_and_the_seed_sets_its_bytes(tmp_path):
    fetch(tmp_path, "wine")
    split = prepare(tmp_path)
    assert dict(split["part"].value_counts()) == {"train": 115, "test": 35, "validation": 28}
    prepare(tmp_path, target="again.parquet")
    prepare(tmp_path, seed=1, target="other.parquet")
    content = [(tmp_path / f"{name}.parquet").read_bytes() for name in ("split", "again", "other")]
    assert content[0] == content[1] != content[2]


def test_an_impossible_split_names_dataset_and_key_and_writes_nothing(tmp_path):
    fetch(tmp_path, "wine")
    with pytest.raises(GlitchtraceError, match=r"^datasets\.wine@mine: subset_size: cannot divide"):
        prepare(tmp_path, subset_size=1000)
    assert names_in(tmp_path) == sorted(NAMES.values())


def test_without_a_dataset_name_messages_name_the_source(tmp_path):
    source = tmp_path / "wine"
    fetch(source, "wine")
    paths = {
        "labels": source / "labels.npy",
        "description": source / "source.json",
        "split": tmp_path / "s.parquet",
    }
    with pytest.raises(GlitchtraceError, match=r"^datasets\.wine: test_size: cannot divide"):
        prepare_data(**paths, seed=0, settings={"test_size": 178})


@pytest.mark.data
def test_the_tenth_of_mnist_has_the_published_sizes(tmp_path, data_root):
    fetch(tmp_path, "mnist", data_root=data_root)
    split = prepare(tmp_path, subset_ratio=0.1)
    assert dict(split["part"].value_counts()) == {"test": 9000, "train": 6000, "validation": 1000}
