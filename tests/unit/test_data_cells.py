"""From files to one training problem: rows of several sources, inputs, and the assembled cell."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import load_cell
from glitchtrace.data.preprocess import PictureInputs, VectorInputs, standardisation
from glitchtrace.data.sources import Sources, fit_pictures
from glitchtrace.data.split import rows_of
from glitchtrace.glitches.stage import inject_glitch

torch.set_num_threads(1)


def random_pictures(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def source(root: Path, name: str, features: np.ndarray, labels: np.ndarray) -> Path:
    files.write_npy(features, root / name / "features.npy")
    files.write_npy(labels, root / name / "labels.npy")
    description = {
        "modality": "table" if features.ndim == 2 else "image",
        "classes": [str(c) for c in range(labels.max() + 1)],
        "parts": {"all": [0, len(labels)]},
    }
    files.write_json(description, root / name / "source.json")
    return root / name / "features.npy"


# --- rows of several sources ---------------------------------------------------------------------------


def test_rows_of_host_and_foreign_sources_are_gathered_in_any_order(tmp_path):
    host, foreign = random_pictures(20, 6, 5), random_pictures(9, 6, 5, seed=1)
    paths = [source(tmp_path, n, x, np.arange(len(x)) % 2) for n, x in (("host", host), ("foreign", foreign))]
    table = pd.DataFrame({"source": ["foreign", "host", "host", "foreign", "host"], "row": [8, 3, 19, 0, 3]})
    found = Sources(paths).samples(table)
    np.testing.assert_array_equal(found, np.stack([foreign[8], host[3], host[19], foreign[0], host[3]]))


def test_foreign_pictures_take_the_form_of_the_host(tmp_path):
    host, foreign = random_pictures(4, 8, 8), random_pictures(4, 16, 16, 3, seed=1)
    paths = [source(tmp_path, n, x, np.array([0, 1] * 2)) for n, x in (("host", host), ("foreign", foreign))]
    found = Sources(paths).gather(np.array(["host", "foreign"]), np.array([2, 3]))
    assert found.shape == (2, 8, 8)
    np.testing.assert_array_equal(found[0], host[2])
    np.testing.assert_array_equal(found[1], fit_pictures(foreign[3:], (8, 8))[0])


def test_only_the_rows_asked_for_are_read(tmp_path):
    path = source(tmp_path, "host", random_pictures(10, 4, 4), np.array([0, 1] * 5))
    sources = Sources([path])
    assert all(isinstance(features, np.memmap) for features in sources._features.values())
    assert not isinstance(sources.gather(np.array(["host"]), np.array([1])), np.memmap)


def test_a_source_that_was_not_opened_is_refused(tmp_path):
    path = source(tmp_path, "host", random_pictures(4, 4, 4), np.array([0, 1] * 2))
    with pytest.raises(GlitchtraceError, match=r"names the source other, but the cell has host"):
        Sources([path]).gather(np.array(["host", "other"]), np.array([0, 1]))


def test_colour_becomes_grey_by_luminance_and_grey_is_repeated():
    colour = random_pictures(3, 7, 5, 3)
    grey = fit_pictures(colour, (7, 5))
    assert np.abs(grey - colour @ np.array([0.299, 0.587, 0.114])).max() <= 1
    repeated = fit_pictures(grey, (7, 5, 3))
    np.testing.assert_array_equal(repeated, np.repeat(grey[..., None], 3, axis=-1))


@pytest.mark.parametrize(("before", "after"), [((16, 16), (8, 8)), ((28, 28), (32, 32)), ((10, 12), (5, 18))])
def test_sizes_change_as_torch_does_bilinearly_with_antialiasing(before, after):
    original = random_pictures(4, *before)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(original)[:, None].float(), size=after, mode="bilinear", antialias=True
    )[:, 0].numpy()
    assert np.abs(fit_pictures(original, after) - expected).max() <= 1.01


# --- inputs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_pictures_become_nchw_in_minus_one_to_one(shape):
    stored = random_pictures(6, *shape)
    stored[0], stored[1] = 0, 255
    inputs = PictureInputs(stored)
    assert len(inputs) == 6
    assert inputs.shape == ((3, 5, 7) if len(shape) == 3 else (1, 5, 7))
    batch = inputs.batch(slice(0, 4))
    assert batch.shape == (4, *inputs.shape)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert (batch[0] == -1).all()
    assert (batch[1] == 1).all()
    expected = stored[:4].reshape(4, 5, 7, -1).transpose(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(batch.numpy(), expected, atol=1e-6)


def test_pictures_are_resized_to_the_convolution_size():
    stored = random_pictures(3, 8, 8)
    batch = PictureInputs(stored, side=32).batch(np.array([2, 0]))
    plain = PictureInputs(stored).batch(np.array([2, 0]))
    assert batch.shape == (2, 1, 32, 32)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    expected = torch.nn.functional.interpolate(plain, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(batch, expected)


@pytest.mark.parametrize("make", [PictureInputs, lambda x: VectorInputs(x, np.zeros(12), np.ones(12))])
def test_any_choice_of_rows_gives_the_rows_of_the_whole(make):
    inputs = make(random_pictures(9, 3, 4))
    whole = inputs.batch(slice(None))
    for rows in (np.array([5, 0, 5]), slice(2, 7), np.arange(9)[::-1], slice(0, 0)):
        torch.testing.assert_close(inputs.batch(rows), whole[np.arange(9)[rows]])


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    count=st.integers(2, 9000),
    columns=st.integers(1, 5),
    offset=st.sampled_from([0.0, 1e3]),
    seed=st.integers(0, 99),
)
def test_vectors_are_standardised_as_scikit_learn_does(count, columns, offset, seed):
    rng = np.random.default_rng(seed)
    stored = (rng.normal(size=(count, columns)) * rng.uniform(0.1, 10, columns) + offset).astype(np.float32)
    scaler = StandardScaler().fit(stored.astype(np.float64))
    mean, std = standardisation(stored)
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(std, scaler.scale_, rtol=1e-10)
    batch = VectorInputs(stored, mean, std).batch(slice(None))
    assert batch.dtype == torch.float32
    np.testing.assert_allclose(
        batch.numpy(), scaler.transform(stored.astype(np.float64)), rtol=1e-6, atol=1e-6
    )


def test_a_constant_column_has_deviation_one_whatever_the_rounding():
    stored = np.full((5000, 2), 0.1, dtype=np.float32)
    stored[:, 1] = np.arange(5000)
    assert standardisation(stored)[1][0] == 1.0


def test_pixels_count_in_units_of_255():
    stored = random_pictures(50, 2, 3)
    mean, std = standardisation(stored)
    flat = stored.reshape(50, 6) / 255
    np.testing.assert_allclose(mean, flat.mean(axis=0))
    np.testing.assert_allclose(std, flat.std(axis=0))
    expected = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    np.testing.assert_allclose(
        VectorInputs(stored, mean, std).batch(slice(None)).numpy(), expected, atol=1e-5
    )


# --- cells ---------------------------------------------------------------------------------------------


@pytest.fixture
def digits(tmp_path):
    """A small host in the form of digits, a foreign source, a split and a table with far anomalies."""
    host, foreign = random_pictures(100, 8, 8), random_pictures(40, 16, 16, 3, seed=1)
    labels = np.arange(100) % 10
    features = [
        source(tmp_path, "digits", host, labels),
        source(tmp_path, "photo_patches", foreign, np.arange(40) % 2),
    ]
    rows = np.random.default_rng(5).permutation(100)
    split = pd.DataFrame({"row": rows, "part": ["train"] * 60 + ["validation"] * 25 + ["test"] * 15})
    split["label"] = labels[rows]
    files.write_parquet(split, tmp_path / "split.parquet")
    inject_glitch(
        split=tmp_path / "split.parquet",
        labels=[path.with_name("labels.npy") for path in features],
        descriptions=[path.with_name("source.json") for path in features],
        glitch=tmp_path / "glitch.parquet",
        dataset="digits",
        name="mixture",
        ratio="native",
        seed=0,
        settings={"steps": [{"glitch": "uniform", "ratio": 0.1}, {"glitch": "far_anomalies", "ratio": 0.1}]},
    )
    arguments = {
        "features": features,
        "split": tmp_path / "split.parquet",
        "glitch": tmp_path / "glitch.parquet",
        "dataset": "digits@mine",
    }
    return arguments, host, foreign, labels, split


def test_a_cell_holds_the_rows_and_labels_of_its_files(digits):
    arguments, host, foreign, labels, split = digits
    cell = load_cell(**arguments, view="pictures")
    table = pd.read_parquet(arguments["glitch"])
    assert cell.classes == 10
    assert (len(cell.train), len(cell.validation), len(cell.test)) == (66, 25, 15)
    assert cell.train.shape == (1, 32, 32)
    for values, column in (
        (cell.train_labels, "label"),
        (cell.true_labels, "true_label"),
        (cell.kinds, "kind"),
    ):
        np.testing.assert_array_equal(values, table[column])
        assert values.dtype == (np.int8 if column == "kind" else np.int64)
    np.testing.assert_array_equal(cell.true_labels[:60], labels[rows_of(split, "train")])
    np.testing.assert_array_equal(cell.validation_labels, labels[rows_of(split, "validation")])
    np.testing.assert_array_equal(cell.test_labels, labels[rows_of(split, "test")])
    stored = np.concatenate([host[rows_of(split, "train")], fit_pictures(foreign[table["row"][60:]], (8, 8))])
    torch.testing.assert_close(cell.train.batch(slice(None)), PictureInputs(stored, 32).batch(slice(None)))
    held_out = PictureInputs(host[rows_of(split, "test")], 32).batch(slice(None))
    torch.testing.assert_close(cell.test.batch(slice(None)), held_out)


def test_vectors_are_standardised_on_the_training_rows_before_injection(digits):
    arguments, host, _, _, split = digits
    cell = load_cell(**arguments, view="vector")
    assert cell.train.shape == (64,)
    clean = cell.train.batch(slice(0, 60)).double()
    torch.testing.assert_close(clean.mean(0), torch.zeros(64, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(clean.std(0, correction=0), torch.ones(64, dtype=torch.float64))
    mean, std = standardisation(host[rows_of(split, "train")])
    expected = VectorInputs(host[rows_of(split, "validation")], mean, std).batch(slice(None))
    torch.testing.assert_close(cell.validation.batch(slice(None)), expected)


def test_a_split_without_labels_is_refused(digits):
    arguments, *_, split = digits
    files.write_parquet(split.rename(columns={"label": "lapel"}), arguments["split"])
    with pytest.raises(GlitchtraceError, match=r"split.parquet has no column 'label'"):
        load_cell(**arguments, view="pictures")


def test_a_table_has_vectors_and_no_pictures(tmp_path):
    features = source(
        tmp_path, "wine", np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3
    )
    split = pd.DataFrame({"row": np.arange(30), "part": ["train"] * 20 + ["validation"] * 5 + ["test"] * 5})
    split["label"] = split["row"] % 3
    files.write_parquet(split, tmp_path / "split.parquet")
    inject_glitch(
        split=tmp_path / "split.parquet",
        labels=[features.with_name("labels.npy")],
        descriptions=[features.with_name("source.json")],
        glitch=tmp_path / "glitch.parquet",
        dataset="wine",
        name="none",
        ratio="clean",
        seed=0,
        settings={},
    )
    arguments = {
        "features": [str(features)],
        "split": tmp_path / "split.parquet",
        "glitch": tmp_path / "glitch.parquet",
        "dataset": "wine",
    }
    cell = load_cell(**arguments, view="vector")
    assert cell.train.shape == (4,)
    assert (cell.kinds == 0).all()
    with pytest.raises(GlitchtraceError, match=r"dataset wine \(table\) has no view 'pictures'"):
        load_cell(**arguments, view="pictures")
