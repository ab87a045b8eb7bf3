"""The stage ``inject_glitch``, from files to a file."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core import files, grid, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.glitches.stage import complete, inject_glitch
from glitchtrace.glitches.table import counts


def source(root: Path, name: str, labels: np.ndarray, parts: dict[str, list[int]]) -> None:
    files.write_npy(labels, root / name / "labels.npy")
    description = {"modality": "image", "classes": [f"c{c}" for c in range(labels.max() + 1)], "parts": parts}
    files.write_json(description, root / name / "source.json")


@pytest.fixture
def cell(tmp_path):
    source(tmp_path, "digits", np.arange(200) % 10, {"all": [0, 200]})
    source(tmp_path, "photo_patches", np.arange(100) % 2, {"all": [0, 100]})
    split = pd.DataFrame({"row": np.arange(200)[::-1], "part": ["train"] * 150 + ["validation"] * 50})
    files.write_parquet(split, tmp_path / "split.parquet")
    return tmp_path


def run(
    root: Path, name: str, ratio: str, settings: dict, seed: int = 0, target: str = "glitch.parquet", **more
):
    names = ["digits", "photo_patches"]
    inject_glitch(
        split=root / "split.parquet",
        labels=[str(root / source / "labels.npy") for source in names],
        descriptions=[str(root / source / "source.json") for source in names],
        glitch=root / target,
        dataset="digits@variant",
        name=name,
        ratio=ratio,
        seed=seed,
        settings=settings,
        **more,
    )
    return pd.read_parquet(root / target)


@pytest.mark.parametrize(
    ("name", "ratio", "settings", "expected"),
    [
        ("none", "clean", {}, {"clean": 150}),
        ("uniform", "0.1", {}, {"clean": 135, "mislabelled": 15}),
        ("class_dependent@all", "0.2", {"classes_to_contaminate": "all"}, {"clean": 120, "mislabelled": 30}),
        ("far_anomalies", "0.1", {}, {"clean": 150, "anomalous": 15}),
        (
            "mixture@mu_ua",
            "native",
            {"steps": [{"glitch": "uniform", "ratio": 0.1}, {"glitch": "far_anomalies", "ratio": 0.2}]},
            {"clean": 135, "mislabelled": 15, "anomalous": 30},
        ),
    ],
)
def test_each_glitch_is_made_with_its_defaults_filled_in(cell, name, ratio, settings, expected):
    table = run(cell, name, ratio, settings)
    assert counts(table) == expected
    assert list(table["row"][:150]) == list(range(199, 49, -1))


def test_clustered_noise_reads_the_rows_of_the_host(cell):
    rows = (
        np.random.default_rng(0).normal(size=(200, 8, 8))
        + 3 * np.eye(10, 64).reshape(10, 8, 8)[np.arange(200) % 10]
    )
    files.write_npy(rows.astype(np.float32), cell / "digits" / "features.npy")
    table = run(cell, "clustered", "0.1", {}, features=[cell / "digits" / "features.npy"])
    assert counts(table) == {"clean": 135, "mislabelled": 15}
    assert table.equals(run(cell, "clustered", "0.1", {}, features=[cell / "digits" / "features.npy"]))


def test_the_same_seed_gives_the_same_bytes(cell):
    for target in ("a.parquet", "b.parquet"):
        run(cell, "uniform", "0.1", {}, target=target)
    run(cell, "uniform", "0.1", {}, seed=1, target="c.parquet")
    content = [(cell / f"{name}.parquet").read_bytes() for name in "abc"]
    assert content[0] == content[1] != content[2]


def test_an_impossible_glitch_writes_nothing_and_names_dataset_and_glitch(cell):
    with pytest.raises(GlitchtraceError, match=r"^digits@variant, glitches\.uniform: ratio 0\.001"):
        run(cell, "uniform", "0.001", {})
    assert not list(cell.glob("*glitch*"))


def test_an_unknown_key_of_a_step_is_refused(cell):
    steps = [{"glitch": "uniform", "ratio": 0.1, "ood_split": "test"}]
    with pytest.raises(GlitchtraceError, match="unknown key 'ood_split' of glitch uniform; known: compat"):
        run(cell, "mixture@mine", "native", {"steps": steps})


def test_the_default_foreign_dataset_is_that_of_the_host_unless_given():
    assert complete("far_anomalies", {}, "mnist@tenth")["foreign"] == "fmnist"
    assert complete("far_anomalies", {"foreign": "cifar10"}, "mnist")["foreign"] == "cifar10"
    steps = complete("mixture", {"steps": [{"glitch": "far_anomalies", "ratio": 0.1, "seed": 2}]}, "fmnist")[
        "steps"
    ]
    assert steps == [
        {
            "glitch": "far_anomalies",
            "ratio": 0.1,
            "seed": 2,
            "foreign": "mnist",
            "ood_split": "auto",
            "compat": {},
        }
    ]


def test_every_setting_of_a_glitch_has_a_description_a_default_and_a_json_form():
    for name in registry.names("glitch"):
        for key, fragment in registry.settings("glitch", name).items():
            assert fragment["description"], key
            assert "default" in fragment
            json.dumps(fragment)


@pytest.mark.parametrize("name", registry.names("glitch"))
def test_a_glitch_has_its_defaults_also_where_its_card_names_no_settings(name):
    fragments = registry.settings("glitch", name)
    assert complete(name, {}, "mnist").keys() == fragments.keys()
    with pytest.raises(GlitchtraceError, match=f"unknown key 'typo' of glitch {name}"):
        complete(name, {"typo": 1}, "mnist")


def relabelled(table):
    return table.assign(label=(table["label"] + 1) % 10)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda table: None, "inject returned NoneType"),
        (lambda table: table.iloc[:0], "a table without rows"),
        (lambda table: table.drop(columns="kind"), "a table without kind"),
        (
            lambda table: table.assign(label=10),
            "inject set label to 10; it must be a whole number from 0 to 9",
        ),
        (lambda table: table.assign(label=1.0), "inject set label to float64"),
        (lambda table: table.assign(kind=7), "inject set kind to 7"),
        (relabelled, "150 rows whose label differs from true_label and whose kind is not MISLABELLED"),
        (lambda table: table, r"planted nothing at the ratio 0\.1"),
        (lambda table: table.assign(kind=np.int8(1)), "planted nothing"),
    ],
)
def test_a_glitch_that_does_not_mark_what_it_plants_is_named(cell, monkeypatch, made, message):
    own = type("Own", (), {"inject": staticmethod(lambda table, **_: made(table))})
    monkeypatch.setattr(registry, "load", lambda kind, name: own)
    with pytest.raises(GlitchtraceError, match=rf"^glitch uniform \(\S+uniform\.py\): .*{message}"):
        run(cell, "uniform", "0.1", {})
    assert not (cell / "glitch.parquet").exists()


def test_clustered_noise_is_no_step_of_a_mixture():
    steps = {"glitch": {"mixture@mine": {"steps": [{"glitch": "clustered", "ratio": 0.1}]}}}
    assert "clustered cannot be a step" in str(grid.illegal_data("digits", "mixture@mine", "native", steps))
