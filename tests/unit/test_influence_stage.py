"""The stages on a cell that is really trained: files, agreement with captum, laziness, bad input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.datasets import load_digits

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_tensors
from glitchtrace.influence import stage
from glitchtrace.influence.closed_form import influence_matrix, self_influence
from glitchtrace.influence.factors import load_factors
from glitchtrace.influence.profile import Profiles, load_profiles, profile_from_matrix
from glitchtrace.training.stage import train_cell

TRAIN, VALIDATION = 100, 40
MODEL = {
    key: fragment["default"] for key, fragment in registry.card("model", "resnet20")["settings"].items()
} | {"weights": "random"}


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """ResNet-20 trained for two epochs on digits; the inputs of the stages by name."""
    folder = tmp_path_factory.mktemp("cell")
    source = folder / "sources" / "digits"
    source.mkdir(parents=True)
    digits = load_digits()
    np.save(source / "features.npy", (digits.images * 15).astype(np.uint8))
    np.save(source / "labels.npy", digits.target.astype(np.int64))
    description = {"modality": "image", "classes": list("0123456789"), "parts": {"all": [0, 1797]}}
    (source / "source.json").write_text(json.dumps({**description, "columns": None, "checksums": {}}))
    rows = np.arange(TRAIN + VALIDATION + 10)
    parts = ["train"] * TRAIN + ["validation"] * VALIDATION + ["test"] * 10
    pd.DataFrame({"row": rows, "part": parts, "label": digits.target[rows]}).to_parquet(
        folder / "split.parquet"
    )
    labels = digits.target[:TRAIN].astype(np.int64)
    glitch = pd.DataFrame({"source": "digits", "row": rows[:TRAIN], "label": labels, "true_label": labels})
    glitch.assign(source_label=labels, kind=np.int8(0)).to_parquet(folder / "glitch.parquet")
    common = {
        "features": [source / "features.npy"],
        "split": folder / "split.parquet",
        "glitch": folder / "glitch.parquet",
        "dataset": "digits",
        "model": "resnet20",
    }
    trained = {name: folder / f"{name}.safetensors" for name in ("checkpoints", "factors")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_cell(
        **common,
        **trained,
        history=folder / "history.parquet",
        settings=MODEL,
        training={"learning_rate": 0.05, "batch_size": 32, "epochs": 2},
        seed=0,
        evaluation_batch=64,
    )
    torch.set_num_threads(threads)
    return {**common, **trained, "model_settings": MODEL}


def influence(cell: dict[str, Any], folder: Path, estimator: str, **settings: Any) -> np.ndarray:
    target = folder / estimator / "influence.npy"
    stage.compute_influence(**cell, influence=target, estimator=estimator, settings=settings)
    assert [path.name for path in target.parent.iterdir()] == ["influence.npy"]
    found: np.ndarray = np.load(target)
    assert found.dtype == np.float32
    assert found.shape == (TRAIN, VALIDATION)
    return found


def profile(cell: dict[str, Any], folder: Path, estimator: str, **settings: Any) -> Profiles:
    target = folder / estimator / "profile.safetensors"
    stage.profile_influence(**cell, profile=target, estimator=estimator, settings=settings)
    return load_profiles(target)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("name", "bias"), [("captum_tracincp", True), ("captum_tracincp_fast", False)])
def test_trained_resnet_equals_captum(cell: dict[str, Any], tmp_path: Path, name: str, bias: bool) -> None:
    """Matrix and self influence to 1e-5 of scale, from factors here and through the network there."""
    ours = influence(cell, tmp_path, "tracin", include_bias=bias)
    assert_close(ours, influence(cell, tmp_path, name))
    factors = load_factors(cell["factors"])
    assert_close(ours, influence_matrix(factors, include_bias=bias))
    selves = profile(cell, tmp_path, name, per_epoch=False).self_influence
    assert_close(self_influence(factors, include_bias=bias), selves)


def test_general_path_reaches_the_last_block(cell: dict[str, Any], tmp_path: Path) -> None:
    head = influence(cell, tmp_path, "tracin")
    assert_close(influence(cell, tmp_path, "tracin", layers=["head"]), head)
    both = influence(cell, tmp_path, "tracin", layers=["layer3.2", "head"])
    block = influence(cell, tmp_path, "tracin", layers=["layer3.2"])
    assert_close(both, head + block)
    assert np.abs(block).max() > 0.01 * np.abs(head).max()


def test_profile_reduces_the_matrix(cell: dict[str, Any], tmp_path: Path) -> None:
    matrix = influence(cell, tmp_path, "tracin")
    found = profile(cell, tmp_path, "tracin")
    expected = profile_from_matrix(matrix, load_factors(cell["factors"]).validation.labels, found.classes)
    assert_close(found.cumulative.positive, expected.positive)
    assert_close(found.cumulative.negative, expected.negative)
    assert len(found.per_epoch) == 2


@pytest.mark.parametrize(
    ("name", "settings", "epochs"),
    [
        ("tracin", {}, [1, 2]),
        ("tracin", {"epochs": [2]}, [2]),
        ("tracin", {"epochs": [2, 1]}, [1, 2]),
        ("tracin", {"epochs": [2], "layers": ["head"]}, [2]),
        ("captum_tracincp_fast", {"epochs": [2]}, [2]),
        ("influence_functions", {}, [2]),
        ("influence_functions", {"epochs": [1]}, [1]),
        ("ekfac", {"layers": "head"}, [2]),
        ("captum_arnoldi", {"krylov": 3, "projection": 2}, [2]),
    ],
)
def test_checkpoints_are_named_by_their_epoch(
    cell: dict[str, Any], tmp_path: Path, name: str, settings: dict[str, Any], epochs: list[int]
) -> None:
    found = profile(cell, tmp_path, name, **settings)
    assert list(found.per_epoch) == epochs
    if name == "tracin":
        whole = profile(cell, tmp_path, name, **{**settings, "epochs": None})
        for epoch in epochs:
            alone, expected = found.at_epoch(epoch), whole.at_epoch(epoch)
            assert_close(alone.self_influence, expected.self_influence)
            assert_close(alone.cumulative.negative, expected.cumulative.negative)


@pytest.mark.parametrize(
    "settings",
    [
        {"include_bias": False},
        {"counterfactual_include_bias": False},
        {"counterfactual_epochs": "all"},
        {"counterfactual_features": "last_block_input"},
        {"divide_by_batch_size": True},
        {"epochs": [1]},
        {"layers": ["layer3.2", "head"]},
    ],
)
def test_every_option_changes_a_number(
    cell: dict[str, Any], tmp_path: Path, settings: dict[str, Any]
) -> None:
    plain, other = profile(cell, tmp_path, "tracin"), profile(cell, tmp_path, "tracin", **settings)
    table = "counterfactual_positive" if any("counterfactual" in key for key in settings) else "cumulative"
    found, expected = (getattr(profiles, table).positive for profiles in (other, plain))
    assert np.abs(found - expected).max() > 1e-3 * np.abs(expected).max()


def test_excluding_the_own_class_changes_the_proposal(cell: dict[str, Any], tmp_path: Path) -> None:
    """Against validation samples of one class, nearly every sample hurts that class most or none at all."""
    content = load_file(cell["factors"])
    content["validation/labels"][:] = 3
    write_tensors(content, tmp_path / "factors.safetensors")
    changed = {**cell, "factors": tmp_path / "factors.safetensors"}
    plain = profile(changed, tmp_path, "tracin")
    bound = profile(changed, tmp_path, "tracin", exclude_own_class=True)
    assert (plain.negative_label == plain.labels).any()
    assert not (bound.negative_label == bound.labels).any()


def test_epochs_can_be_left_out(cell: dict[str, Any], tmp_path: Path) -> None:
    assert profile(cell, tmp_path, "tracin", per_epoch=False).per_epoch == {}


def test_head_in_closed_form_reads_factors_only_and_needs_no_torch(
    cell: dict[str, Any], tmp_path: Path
) -> None:
    script = f"""
import sys
from glitchtrace.influence.stage import compute_influence, profile_influence
import pandas as pd
from glitchtrace.detectors.stage import detect_cell
from glitchtrace.influence.factors import load_factors
inputs = dict(factors={str(cell["factors"])!r}, checkpoints="absent", features=["absent"], split="absent",
    glitch="absent", dataset="absent", model="absent", model_settings={{}}, estimator="tracin", settings={{}})
compute_influence(**inputs, influence="influence.npy")
profile_influence(**inputs, profile="profile.safetensors")
labels = load_factors(inputs["factors"]).train.labels
pd.DataFrame({{"label": labels}}).to_parquet("glitch.parquet")
detect_cell(glitch="glitch.parquet", profile=["profile.safetensors"], scores="scores.parquet",
    detectors=["CNCI", "CFRank"], settings={{}}, estimator_settings={{}}, seed=0)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert (tmp_path / "scores.parquet").is_file()


def test_same_bytes_again(cell: dict[str, Any], tmp_path: Path) -> None:
    for folder in ("first", "second"):
        influence(cell, tmp_path / folder, "tracin")
        profile(cell, tmp_path / folder / "profile", "tracin")
    for name in ("tracin/influence.npy", "profile/tracin/profile.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_bad_factors_leave_nothing_behind(cell: dict[str, Any], tmp_path: Path) -> None:
    content = load_file(cell["factors"])
    content["train/features/001"][0, 0] = np.nan
    write_tensors(content, tmp_path / "factors.safetensors")
    target = tmp_path / "out" / "influence.npy"
    with pytest.raises(GlitchtraceError, match="train/features holds values that are not finite"):
        stage.compute_influence(
            **{**cell, "factors": tmp_path / "factors.safetensors"},
            influence=target,
            estimator="tracin",
            settings={},
        )
    assert not target.parent.exists()


@pytest.mark.parametrize(
    ("settings", "key"),
    [({}, "memory_mib to 16"), ({"layers": ["head"]}, "gradient_memory_mib to 128")],
)
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_names_the_key(
    cell: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    settings: dict[str, Any],
    key: str,
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(stage, "_open", fail)
    with pytest.raises(GlitchtraceError, match=rf"out of memory; set estimators\.tracin\.{key}"):
        influence(cell, tmp_path, "tracin", **settings)


def test_other_errors_keep_their_traceback(
    cell: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(stage, "_open", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        influence(cell, tmp_path, "tracin")


def test_unknown_estimator(cell: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(
        GlitchtraceError, match="unknown estimator 'tracing'; known: captum_arnoldi, captum_tracincp"
    ):
        influence(cell, tmp_path, "tracing")
