"""Reading and checking factors.safetensors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_tensors
from glitchtrace.influence.factors import load_factors

Tensors = dict[str, np.ndarray]


def tensors(frozen: bool) -> Tensors:
    rng = np.random.default_rng(5)
    found: Tensors = {"learning_rates": np.array([0.1, 0.05]), "batch_size": np.array([32])}
    for name, size in (("train", 6), ("validation", 4)):
        keys = ["features"] if frozen else ["features/001", "features/002"]
        found |= {f"{name}/{key}": rng.normal(size=(size, 3)).astype(np.float32) for key in keys}
        for epoch in (1, 2):
            found[f"{name}/probabilities/{epoch:03d}"] = rng.dirichlet(np.ones(3), size).astype(np.float32)
        found[f"{name}/labels"] = np.arange(size) % 3
    return found


def written(folder: Path, content: Tensors) -> Path:
    path = folder / "factors.safetensors"
    write_tensors(content, path)
    return path


@pytest.mark.parametrize("frozen", [True, False])
def test_round_trip(tmp_path: Path, frozen: bool) -> None:
    content = tensors(frozen)
    factors = load_factors(written(tmp_path, content))
    assert (factors.epochs, factors.batch_size, factors.frozen, factors.dtype) == (2, 32, frozen, np.float32)
    key = "train/features" if frozen else "train/features/002"
    np.testing.assert_array_equal(factors.train.features[-1], content[key])
    np.testing.assert_array_equal(
        factors.validation.probabilities[1], content["validation/probabilities/002"]
    )
    np.testing.assert_array_equal(factors.validation.labels, content["validation/labels"])


def test_selection_of_epochs(tmp_path: Path) -> None:
    content = tensors(frozen=False)
    factors = load_factors(written(tmp_path, content)).select([2])
    assert factors.learning_rates.tolist() == [0.05]
    np.testing.assert_array_equal(factors.train.features[0], content["train/features/002"])
    np.testing.assert_array_equal(factors.train.probabilities[0], content["train/probabilities/002"])
    both = load_factors(written(tmp_path, content)).select([2, 1])
    assert both.learning_rates.tolist() == content["learning_rates"].tolist()


@pytest.mark.parametrize("epochs", [[0], [3], [1, 3], []])
def test_selection_of_an_unknown_epoch(tmp_path: Path, epochs: list[int]) -> None:
    factors = load_factors(written(tmp_path, tensors(frozen=True)))
    with pytest.raises(GlitchtraceError, match=r"epochs: .*1 to 2"):
        factors.select(epochs)


def drop(key: str) -> Callable[[Tensors], object]:
    return lambda content: content.pop(key)


def put(key: str, value: np.ndarray) -> Callable[[Tensors], object]:
    return lambda content: content.update({key: value})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop("batch_size"), "lacks the tensor 'batch_size'"),
        (drop("train/features/002"), "lacks the tensor 'train/features/002'"),
        (drop("validation/probabilities/001"), "lacks the tensor 'validation/probabilities/001'"),
        (put("train/features/001", np.zeros((5, 3), np.float32)), r"train/features has shape \(5, 3\)"),
        (put("validation/features/002", np.zeros((4, 2), np.float32)), r"validation/features has shape"),
        (put("train/probabilities/002", np.zeros((6, 4), np.float32)), r"train/probabilities has shape"),
        (put("train/labels", np.array([0, 1, 2, 0, 1, 3])), "train/labels must be integers from 0 to 2"),
        (put("train/labels", np.array([0, 1, 2, 0, 1, -1])), "train/labels must be integers from 0 to 2"),
        (put("train/labels", np.zeros(6)), "train/labels must be integers"),
        (put("validation/labels", np.zeros(0, np.int64)), "validation/labels is empty"),
        (put("train/features/001", np.full((6, 3), np.nan, np.float32)), "train/features holds values"),
        (
            put("validation/probabilities/002", np.full((4, 3), np.inf, np.float32)),
            "validation/probabilities hold",
        ),
        (
            put("train/probabilities/001", np.full((6, 3), 0.5, np.float32)),
            r"train/probabilities: row 0 sums to 1.5",
        ),
        (put("learning_rates", np.array([0.1, np.nan])), "learning_rates holds values"),
        (put("learning_rates", np.zeros(0)), "learning_rates must be a vector"),
        (put("batch_size", np.array([0])), "batch_size is 0"),
    ],
)
def test_bad_content_names_file_and_key(
    tmp_path: Path, spoil: Callable[[Tensors], object], message: str
) -> None:
    content = tensors(frozen=False)
    spoil(content)
    path = written(tmp_path, content)
    with pytest.raises(GlitchtraceError, match=message) as caught:
        load_factors(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_file(tmp_path: Path) -> None:
    path = written(tmp_path, tensors(frozen=True))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(GlitchtraceError, match="cannot be read as safetensors"):
        load_factors(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(GlitchtraceError, match=r"absent\.safetensors does not exist"):
        load_factors(tmp_path / "absent.safetensors")
