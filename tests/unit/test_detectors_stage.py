"""scores.parquet: its columns, orientation, what detectors may say, and bad input."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_tensors
from glitchtrace.detectors import anomalies, neighbours
from glitchtrace.detectors import evidence as pieces
from glitchtrace.detectors.evidence import Detection, Evidence, detect
from glitchtrace.detectors.influence_signals import CARDS, score
from glitchtrace.detectors.ranks import ascending_ranks
from glitchtrace.detectors.stage import detect_cell, read_evidence, score_table
from glitchtrace.glitches.kinds import Kind
from glitchtrace.influence.profile import Profiles, profiles_from_matrices, save_profiles

SIGNALS = sorted(CARDS)


def profiles() -> Profiles:
    rng = np.random.default_rng(4)
    return profiles_from_matrices(
        influence=rng.normal(size=(30, 14)),
        self_influence=rng.uniform(size=30),
        labels=np.arange(30) % 3,
        validation_labels=np.arange(14) % 3,
        counterfactual_negative=rng.normal(size=(30, 14)),
        counterfactual_positive=rng.normal(size=(30, 14)),
    )


@pytest.fixture
def cell(tmp_path: Path) -> dict[str, object]:
    save_profiles(profiles(), tmp_path / "profile.safetensors")
    table = pd.DataFrame({"label": np.arange(30) % 3, "kind": np.int8(0)})
    table.to_parquet(tmp_path / "glitch.parquet")
    return {
        "glitch": tmp_path / "glitch.parquet",
        "profile": [tmp_path / "profile.safetensors"],
        "scores": tmp_path / "scores.parquet",
        "settings": {},
        "estimator_settings": {},
        "seed": 0,
    }


def test_all_signals(cell: dict[str, object], tmp_path: Path) -> None:
    detect_cell(**cell, detectors=SIGNALS)
    table = pd.read_parquet(tmp_path / "scores.parquet")
    found = profiles()
    assert table.columns.tolist() == ["sample", "label", *SIGNALS, "proposed_label", "verdict"]
    assert table["sample"].tolist() == list(range(30))
    np.testing.assert_array_equal(table["label"], found.labels)
    np.testing.assert_array_equal(table["proposed_label"], found.negative_label)
    for name in SIGNALS:
        np.testing.assert_array_equal(table[name], score(name, found))
    mislabelled = ascending_ranks(table["CNCI"].to_numpy()) >= ascending_ranks(table["PCID"].to_numpy())
    expected = np.where(mislabelled, Kind.MISLABELLED, Kind.ANOMALOUS)
    np.testing.assert_array_equal(table["verdict"], expected)
    assert table["verdict"].dtype == np.int8
    assert 0 < mislabelled.sum() < 30


def test_settings_of_the_estimator_reach_the_detector_that_reads_them(
    cell: dict[str, object], tmp_path: Path
) -> None:
    cell["estimator_settings"] = {"mi_orientation": "negative", "layers": "head"}
    detect_cell(**cell, detectors=["CFRank", "MI"])
    table = pd.read_parquet(tmp_path / "scores.parquet")
    assert table.columns.tolist() == ["sample", "label", "CFRank", "MI", "verdict"]
    np.testing.assert_array_equal(table["MI"], -score("MI", profiles()))


def test_same_bytes_again(cell: dict[str, object], tmp_path: Path) -> None:
    for name in ("first", "second"):
        detect_cell(**{**cell, "scores": tmp_path / name}, detectors=SIGNALS)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_unknown_detector(cell: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(GlitchtraceError, match="unknown detector 'CNCJ'; known: AAI, AUM, CFRank"):
        detect_cell(**cell, detectors=["CNCJ"])
    assert not (tmp_path / "scores.parquet").exists()


def test_truncated_profile(cell: dict[str, object], tmp_path: Path) -> None:
    profile = tmp_path / "profile.safetensors"
    profile.write_bytes(profile.read_bytes()[:-3])
    with pytest.raises(GlitchtraceError, match=r"profile\.safetensors cannot be read"):
        detect_cell(**cell, detectors=["SI"])


def test_evidence_of_other_samples_is_refused(cell: dict[str, object], tmp_path: Path) -> None:
    pd.DataFrame({"label": np.arange(30)[::-1] % 3}).to_parquet(tmp_path / "glitch.parquet")
    with pytest.raises(GlitchtraceError, match="the influence is of other labels"):
        detect_cell(**cell, detectors=["SI"])
    other = {"probabilities": np.full((30, 3), 1 / 3, np.float32), "labels": np.arange(30) % 3}
    write_tensors(other, tmp_path / "fold.safetensors")
    found = read_evidence(glitch=tmp_path / "glitch.parquet", out_of_fold=[tmp_path / "fold.safetensors"])
    with pytest.raises(GlitchtraceError, match=r"fold\.safetensors and .*glitch\.parquet describe different"):
        detect("confident_learning", found)


def test_missing_evidence_is_named() -> None:
    with pytest.raises(GlitchtraceError, match=r"'CNCI' needs influence profiles .*leave it out"):
        detect("CNCI", Evidence(np.array([0, 1]), 2))


def test_a_piece_is_read_once_and_only_when_asked_for() -> None:
    asked = []

    def out_of_fold() -> np.ndarray:
        asked.append(1)
        return np.eye(3)[np.arange(30) % 3] * 0.7 + 0.1

    def never() -> np.ndarray:
        raise AssertionError

    found = Evidence(np.arange(30) % 3, 3, read_out_of_fold=out_of_fold, read_pictures=never)
    for _ in range(2):
        detect("confident_learning", found)
    assert asked == [1]


def test_confident_learning_is_one_minus_self_confidence() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.25, 0.5, 0.25]] * 4, dtype=np.float32)
    labels = np.array([0, 0, 1] * 3 + [2, 2, 2])
    found = detect("confident_learning", Evidence(labels, 3, read_out_of_fold=lambda: probabilities))
    np.testing.assert_allclose(found.scores, 1 - probabilities[np.arange(12), labels], atol=1e-6)
    np.testing.assert_array_equal(found.proposed_labels, [0, 2, 1] * 4)
    assert found.flags is not None


def test_everything_that_a_detection_says_has_its_column() -> None:
    posterior = np.tile([0.4, 0.3, 0.2, 0.1], (2, 1))
    said = Detection(
        np.array([1, np.inf]),
        proposed_labels=np.array([1, 0]),
        flags=np.array([True, False]),
        kinds=np.array([1, 2], np.int8),
        posterior=posterior,
    )
    table = score_table(np.array([0, 1]), {"mine": said, "other": Detection(np.zeros(2))})
    assert table.columns.tolist() == [
        "sample",
        "label",
        "mine",
        "other",
        "mine/proposed_label",
        "mine/flagged",
        "mine/kind",
        *(f"mine/posterior_{kind}" for kind in ("clean", "mislabelled", "anomalous", "corrupted")),
    ]
    np.testing.assert_array_equal(table["mine/posterior_anomalous"], posterior[:, 2])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scores": [0.0, np.nan]}, "scores is NaN for 1 of 2"),
        ({"scores": np.zeros((2, 2))}, "scores has shape"),
        ({"scores": np.zeros(2), "flags": np.zeros(2)}, "flags have type float64; give bool"),
        ({"scores": np.zeros(2), "kinds": np.zeros(3)}, "kinds have shape"),
        ({"scores": np.zeros(2), "posterior": np.ones((2, 4))}, "posterior: row 0 sums to 4"),
    ],
)
def test_a_detection_is_checked(fields: dict[str, object], message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        Detection(**fields)  # type: ignore[arg-type]


def test_cards_name_known_evidence_and_what_they_find() -> None:
    for name in registry.names("detector"):
        card = registry.card("detector", name)
        assert set(card["needs"]) <= set(pieces.NEEDS), name
        assert card["finds"] in ("label", "anomaly", "both"), name
        assert card["label"], name


def test_a_choice_of_detectors_is_names_and_groups() -> None:
    default = registry.chosen("detector", "default")
    assert set(SIGNALS) <= set(default)
    assert "confident_learning" not in default
    assert registry.chosen("detector", ["default", "confident_learning", "SI"]) == sorted(
        [*default, "confident_learning"]
    )
    assert registry.chosen("detector", "all") == list(registry.names("detector"))
    with pytest.raises(GlitchtraceError, match="unknown detector 'magic'"):
        registry.chosen("detector", ["magic"])


# --- cells of the same features -------------------------------------------------------------------------------------

OF_FEATURES = ["knn_distance", "local_outlier_factor", "isolation_forest", "ecod", "autoencoder"]
NEIGHBOURS = ["knn_vote", "simifeat"]


def cell_of(
    folder: Path, name: str, *, features: np.ndarray, shift: int = 0, kind: Kind = Kind.MISLABELLED
) -> dict:
    """A cell of 40 samples below ``folder``; ``features`` (T, 40, d), ``shift`` moves the labels of its first four."""
    rng = np.random.default_rng(7)
    labels = np.arange(40) % 3
    labels[:4] = (labels[:4] + shift) % 3
    table = pd.DataFrame({"label": labels, "kind": np.where(np.arange(40) < 4, kind, 0).astype(np.int8)})
    cell = folder / "results/iris" / name / "seed-0"
    cell.mkdir(parents=True)
    table.to_parquet(cell / "glitch.parquet")
    held = rng.normal(size=(len(features), 12, features.shape[2])).astype(np.float32)
    tensors = {"learning_rates": np.ones(2), "batch_size": np.array([8])}
    for part, views, own in (("train", features, labels), ("validation", held, np.arange(12) % 3)):
        tensors[f"{part}/labels"] = own
        for epoch in (1, 2):
            chances = rng.dirichlet(np.ones(3), size=len(own)).astype(np.float32)
            tensors[f"{part}/probabilities/{epoch:03d}"] = chances
        if len(views) == 1:
            tensors[f"{part}/features"] = views[0]
        else:
            tensors |= {f"{part}/features/{epoch:03d}": views[epoch - 1] for epoch in (1, 2)}
    write_tensors(tensors, cell / "factors.safetensors")
    return {
        "glitch": cell / "glitch.parquet",
        "factors": [cell / "factors.safetensors"],
        "settings": {"autoencoder": {"epochs": 2}},
        "estimator_settings": {},
        "seed": 0,
        "detectors": [*OF_FEATURES, *NEIGHBOURS, "mahalanobis"],
    }


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made of features, by the name of its function, while a test runs."""
    names: list[str] = []
    for module, functions in (
        (anomalies, ("_nearest", "_isolated", "_surprise", "_reconstructed")),
        (neighbours, ("nearest_neighbours",)),
    ):
        for function in functions:
            original = getattr(module, function)

            @functools.wraps(original)
            def counted(*given: object, original: Callable[..., Any] = original) -> object:
                names.append(original.__name__)
                return original(*given)

            monkeypatch.setattr(module, function, counted)
    return names


EACH = ["_isolated", "_nearest", "_reconstructed", "_surprise", "nearest_neighbours"]


def scored(cell: dict, file: Path, **options: object) -> bytes:
    detect_cell(**cell, scores=file, **options)
    return file.read_bytes()


def test_cells_that_share_their_features_have_the_bytes_of_cells_alone(
    tmp_path: Path, made: list[str]
) -> None:
    features = np.random.default_rng(1).normal(size=(1, 40, 6)).astype(np.float32)
    cells = [cell_of(tmp_path, f"noise-0.{shift}", features=features, shift=shift) for shift in (0, 1, 2)]
    alone = [scored(cell, tmp_path / "alone") for cell in cells]
    assert sorted(made) == sorted(EACH * 3)
    assert len(set(alone)) == 3
    assert not (tmp_path / "results/shared").exists()
    made.clear()
    assert [scored(cell, tmp_path / "shared", share=True) for cell in cells] == alone
    assert sorted(made) == EACH
    # Another seed draws other trees and another order; it has the same neighbours.
    made.clear()
    scored({**cells[0], "seed": 1}, tmp_path / "seed", share=True)
    assert sorted(made) == ["_isolated", "_reconstructed"]


def test_what_is_shared_and_damaged_is_made_again(tmp_path: Path, made: list[str]) -> None:
    features = np.random.default_rng(1).normal(size=(1, 40, 6)).astype(np.float32)
    cell = cell_of(tmp_path, "noise-0.1", features=features)
    first = scored(cell, tmp_path / "first", share=True)
    kept = sorted((tmp_path / "results/shared").rglob("*.safetensors"))
    assert len(kept) == len(EACH)
    for file in kept:
        file.write_bytes(file.read_bytes()[:-1])
    made.clear()
    assert scored(cell, tmp_path / "second", share=True) == first
    assert sorted(made) == EACH


def test_other_features_are_not_shared(tmp_path: Path, made: list[str]) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(2, 40, 6)).astype(np.float32)
    first = cell_of(tmp_path, "noise-0.1", features=features[:1])
    scored(first, tmp_path / "first", share=True)
    kept = set((tmp_path / "results/shared").rglob("*.safetensors"))
    changed = features[:1].copy()
    changed[0, 39, 5] = np.nextafter(changed[0, 39, 5], np.float32(9))
    for name, others in {
        "other-0.1": cell_of(tmp_path, "other-0.1", features=changed),
        "learnt-0.1": cell_of(tmp_path, "learnt-0.1", features=features),
        "foreign-0.1": cell_of(tmp_path, "foreign-0.1", features=features[:1], kind=Kind.ANOMALOUS),
    }.items():
        alone = scored(others, tmp_path / "alone")
        made.clear()
        assert scored(others, tmp_path / "second", share=True) == alone, name
        assert sorted(made) == EACH, name
        # Features that training changes, and samples of this cell alone, are of no use to others.
        now = set((tmp_path / "results/shared").rglob("*.safetensors"))
        assert len(now - kept) == (len(EACH) if name == "other-0.1" else 0), name
        kept = now
