"""Datasets in the libsvm format: real loaders on small made files, sparse sources, and the splits of RDIA."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from scipy.sparse import csr_matrix
from sklearn.utils import Bunch

from glitchtrace.core import grid, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import fetch
from glitchtrace.data.datasets import libsvm
from glitchtrace.data.datasets.idx import load_seven_one
from glitchtrace.data.datasets.libsvm import binary_pool, load_libsvm, scaled
from glitchtrace.data.description import read_description
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.sparse import read_sparse, write_sparse
from glitchtrace.data.split import make_split, rows_of

GOLDEN = Path(__file__).parents[1] / "golden/rdia"
LINES = b"+1 1:0.5 3:1\n-1 2:-2\n+1 3:4 4:1\n-1 1:1\n"
DENSE = np.array([[0.5, 0, 1, 0], [0, -2, 0, 0], [0, 0, 4, 1], [1, 0, 0, 0]], np.float32)
# Dataset -> files that its loader asks for.
FILES = {
    "adult_a1a": ("a1a.t", "a1a"),
    "news20_binary": ("news20.binary",),
    "real_sim": ("real-sim",),
    "criteo": ("criteo.train", "criteo.test"),
    "avazu_app": ("avazu-app.tr", "avazu-app.val"),
}
PACKED = {"": lambda content: content, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home, so that no test sees the user's cache."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def put(root, name, content=LINES):
    (root / "LIBSVM").mkdir(parents=True, exist_ok=True)
    (root / "LIBSVM" / name).write_bytes(content)


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_and_labels_of_a_file(tmp_path, suffix, sparse):
    put(tmp_path, f"made{suffix}", PACKED[suffix](LINES))
    pool = load_libsvm({"all": "made"}, tmp_path, columns=4, sparse=sparse)
    found = pool.features.toarray() if sparse else pool.features
    np.testing.assert_array_equal(found, DENSE)
    assert pool.features.dtype == np.float32
    assert pool.labels.tolist() == [1, 0, 1, 0]
    assert pool.parts == {"all": (0, 4)}
    assert (pool.columns is None) == sparse
    assert pool.checksums["made"].startswith("sha256:")
    pool.check("made")


@pytest.mark.parametrize("name", FILES)
def test_each_dataset_reads_its_files_in_order_and_is_stored(tmp_path, name, monkeypatch):
    # Made files are smaller than the published ones.
    monkeypatch.setattr(fetch, "check_against_card", lambda pool, dataset: None)
    for file in FILES[name]:
        put(tmp_path, file)
    sparse = registry.card("dataset", name)["modality"] == "sparse"
    features = tmp_path / name / ("features.npz" if sparse else "features.npy")
    labels, description = tmp_path / name / "labels.npy", tmp_path / name / "source.json"
    fetch_data(dataset=name, features=features, labels=labels, description=description, data_root=tmp_path)
    stored = read_sparse(features) if sparse else np.load(features)
    count = 4 * len(FILES[name])
    assert stored.shape[0] == len(np.load(labels)) == count
    content = read_description(description)
    assert content["modality"] == ("sparse" if sparse else "table")
    expected = {"train": [0, 4], "test": [4, 8]} if count == 8 else {"all": [0, 4]}
    assert content["parts"] == expected
    first = stored[:4, :4]
    np.testing.assert_array_equal(first.toarray() if sparse else first, DENSE)


@pytest.mark.parametrize("name", [*FILES, "cancer_libsvm"])
def test_an_absent_file_is_asked_for_in_one_line_that_names_its_place(tmp_path, name):
    file = "breast-cancer_scale" if name == "cancer_libsvm" else FILES[name][0]
    message = (
        rf"{file} is not at {tmp_path}/LIBSVM/{file}; take it from the LIBSVM data page .*, put it there"
    )
    with pytest.raises(GlitchtraceError, match=message) as caught:
        registry.load("dataset", name).load(tmp_path)
    assert "\n" not in str(caught.value)
    assert "GLITCHTRACE_DATA" in str(caught.value)


def test_a_file_of_ones_own_has_as_many_columns_as_it_uses(tmp_path):
    own = registry.load("dataset", "own_libsvm")
    with pytest.raises(GlitchtraceError, match=r"there is no file LIBSVM/own in the data folder; put yours"):
        own.load(tmp_path)
    put(tmp_path, "own.gz", gzip.compress(LINES))
    found = own.load(tmp_path)
    np.testing.assert_array_equal(found.features.toarray(), DENSE)
    found.check("own_libsvm")
    put(tmp_path, "own", b"0 1:1\n1 7:2\n")
    assert own.load(tmp_path).features.shape == (2, 7)
    put(tmp_path, "own", b"0 1:a\n")
    with pytest.raises(GlitchtraceError, match=r"own: not in the libsvm format \("):
        own.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 5:1\n0 1:1\n", "at most 4 features"),
        (b"hello world\n", "not in the libsvm format"),
        (b"1 0:1\n0 1:1\n", "not in the libsvm format"),
        (b"1 1:1\n1 1:2\n", "labels have 1 values, two are needed"),
        (b"1 1:1\n2 1:2\n3 1:1\n", "labels have 3 values"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, message):
    put(tmp_path, "made", content)
    with pytest.raises(GlitchtraceError, match=message):
        load_libsvm({"all": "made"}, tmp_path, columns=4)


def test_rows_that_are_missing_are_noticed():
    with pytest.raises(GlitchtraceError, match="4 rows where 9 are expected"):
        binary_pool(DENSE, np.array([0, 1, 0, 1]), parts={"train": (0, 5), "test": (5, 9)}, checksums={})


def test_a_sparse_matrix_comes_back_as_written_and_equal_matrices_give_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_sparse(csr_matrix(DENSE), tmp_path / name)
    found = read_sparse(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.toarray(), DENSE)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(b"nothing")
    with pytest.raises(GlitchtraceError, match="not the expected npz file"):
        read_sparse(tmp_path / "c.npz")


def test_columns_are_scaled_as_published():
    found = scaled(np.array([[0.0, 3.0, 7.0], [4.0, 3.0, 9.0], [1.0, 3.0, 8.0]]))
    np.testing.assert_allclose(found, [[-1, 0, -1], [1, 0, 1], [-0.5, 0, 0]])


@pytest.mark.parametrize(
    ("load", "identifier", "rows", "columns"),
    [(libsvm.load_diabetes, 37, 768, 8), (libsvm.load_covtype, 293, 581_012, 54)],
)
def test_openml_serves_where_no_file_lies(tmp_path, monkeypatch, load, identifier, rows, columns):
    asked = []

    def fetch_openml(*, data_id, data_home, **_):
        asked.append(data_id)
        assert data_home == str(tmp_path)  # where the client makes its folder openml
        data = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns) % 97
        return Bunch(data=data, target=np.where(np.arange(rows) % 3, "tested_negative", "tested_positive"))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    pool = load(tmp_path)
    assert asked == [identifier]
    assert pool.features.shape == (rows, columns)
    assert pool.features.max() == 1
    assert pool.parts["test"][1] == rows
    assert next(iter(pool.checksums.values())) == f"openml:{identifier}"
    if load is libsvm.load_diabetes:
        # LIBSVM's labels: the sick −1, so class 0.
        assert pool.labels[:3].tolist() == [0, 1, 1]


def test_openml_out_of_reach_is_one_line(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError("no network")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", refuse)
    with pytest.raises(
        GlitchtraceError,
        match=r"diabetes_scale \(OpenML 37\) is not in .*, and its download failed \(no network\); put the .*"
        r"diabetes_scale into LIBSVM of the data folder",
    ):
        libsvm.load_diabetes(tmp_path)
    with pytest.raises(
        GlitchtraceError, match=r"file covtype.libsvm.binary.scale into LIBSVM of the data folder"
    ):
        libsvm.load_covtype(tmp_path)


def test_cancer_reads_the_libsvm_file_where_it_lies(tmp_path):
    lines = b"".join(b"%d 1:0.5 10:-1\n" % (4 if row % 3 else 2) for row in range(683))
    put(tmp_path, "breast-cancer_scale", lines)
    pool = libsvm.load_cancer(tmp_path)
    assert pool.features.shape == (683, 10)
    assert pool.labels[:3].tolist() == [0, 1, 1]
    assert pool.parts == {"train": (0, 500), "test": (500, 683)}


@pytest.mark.data
def test_cancer_is_the_published_set(data_root):
    pool = libsvm.load_cancer(data_root)
    with np.load(GOLDEN / "cancer_n00.npz") as golden:
        np.testing.assert_array_equal(pool.features[:350], golden["x_train"][:, 1:])
        np.testing.assert_array_equal(pool.labels[500:], golden["y_te"])


@pytest.mark.data
def test_mnist17_has_the_published_sizes(data_root):
    pool = load_seven_one(data_root)
    pool.check("mnist17")
    split = make_split(
        pool.labels, pool.parts, seed=0, validation_source="holdout", holdout_ratio=0.3, holdout_order="tail"
    )
    assert [len(rows_of(split, part)) for part in ("train", "validation", "test")] == [9088, 3895, 2163]
    assert split["row"].tolist() == list(range(15146))


# --- splits -------------------------------------------------------------------------------------------------------

LABELS = np.arange(100) % 2
PARTS = {"train": (0, 70), "test": (70, 100)}


def test_the_tail_of_the_training_rows_is_validation():
    split = make_split(
        LABELS, PARTS, seed=3, validation_source="holdout", holdout_ratio=0.3, holdout_order="tail"
    )
    assert rows_of(split, "train").tolist() == list(range(49))
    assert rows_of(split, "validation").tolist() == list(range(49, 70))
    assert rows_of(split, "test").tolist() == list(range(70, 100))


def test_without_official_test_rows_the_tail_is_that_of_the_others():
    split = make_split(
        LABELS, {"all": (0, 100)}, seed=3, test_size=20, holdout_ratio=0.25, holdout_order="tail"
    )
    train, validation = rows_of(split, "train"), rows_of(split, "validation")
    assert (len(train), len(validation)) == (60, 20)
    assert train.max() < validation.min()


def test_a_tail_without_rows_is_refused():
    with pytest.raises(GlitchtraceError, match="holdout_ratio: the tail of 70 rows has 70"):
        make_split(
            LABELS, PARTS, seed=0, validation_source="holdout", holdout_ratio=0.999, holdout_order="tail"
        )


def test_all_rows_may_be_training_and_test_rows():
    split = make_split(LABELS, PARTS, seed=0, validation_source="none")
    assert sorted(rows_of(split, "train")) == list(range(70))
    assert not len(rows_of(split, "validation"))
    assert rows_of(split, "test").tolist() == list(range(70, 100))
    with pytest.raises(GlitchtraceError, match="none needs a dataset with an official test part"):
        make_split(LABELS, {"all": (0, 100)}, seed=0, validation_source="none")


def test_the_detection_grid_refuses_a_dataset_without_validation_rows():
    block = {"datasets": ["mnist@whole"], "models": ["mlp"], "glitches": ["uniform"], "ratios": [0.1]}
    settings = {"dataset": {"mnist@whole": {"validation_source": "none"}}}
    with pytest.raises(GlitchtraceError, match=r"grid\[0\]: dataset mnist@whole has no validation rows"):
        grid.cells([{**block, "seeds": [0], "estimators": ["tracin"]}], settings)
    sizes = {"subset_ratio": None, "subset_size": None, "validation_source": "none"}
    assert grid.sizes("mnist", sizes) == (60000, 0)


def test_networks_and_sparse_rows_do_not_meet():
    problem = grid.illegal("real_sim", "linear", "uniform", "0.1", {})
    assert "model linear takes image and table data, real_sim is of modality sparse" in problem
    assert grid.illegal_data("real_sim", "uniform", "0.5", {}) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 1:1\n0 2:x\n", r"line 2: '2:x' is no index:value"),
        (b"1 1:1\nred 1:1\n", r"line 2: 'red' is no label"),
        (b"1 2:1 1:1\n0 1:1\n", r"line 1: index 1 after 2"),
        (b"1 1:1\n0 1:1\n1 5:1\n", r"line 3: index 5 of 4 columns"),
    ],
)
def test_a_fault_in_a_libsvm_file_names_its_line(tmp_path, content, message):
    put = tmp_path / "LIBSVM/made"
    put.parent.mkdir()
    put.write_bytes(content)
    with pytest.raises(GlitchtraceError, match=rf"{message}.*; mend that line") as caught:
        load_libsvm({"all": "made"}, tmp_path, columns=4)
    assert "\n" not in str(caught.value)
