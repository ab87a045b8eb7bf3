"""signals.parquet: its columns, orientation, and bad input."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.ranks import ascending_ranks
from glitchtrace.detectors.stage import score, score_signals
from glitchtrace.glitches.kinds import Kind
from glitchtrace.influence.profile import Profiles, profiles_from_matrices, save_profiles


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
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "profile.safetensors"
    save_profiles(profiles(), path)
    return path


def test_all_signals(profile: Path, tmp_path: Path) -> None:
    score_signals(profile=profile, signals=tmp_path / "signals.parquet", detectors="all", settings={})
    table = pd.read_parquet(tmp_path / "signals.parquet")
    found = profiles()
    assert table.columns.tolist() == [
        "sample",
        "label",
        *registry.names("signal"),
        "proposed_label",
        "verdict",
    ]
    assert table["sample"].tolist() == list(range(30))
    np.testing.assert_array_equal(table["label"], found.labels)
    np.testing.assert_array_equal(table["proposed_label"], found.negative_label)
    for name in registry.names("signal"):
        np.testing.assert_array_equal(table[name], score(name, found))
    mislabelled = ascending_ranks(table["CNCI"].to_numpy()) >= ascending_ranks(table["PCID"].to_numpy())
    expected = np.where(mislabelled, Kind.MISLABELLED, Kind.ANOMALOUS)
    np.testing.assert_array_equal(table["verdict"], expected)
    assert table["verdict"].dtype == np.int8
    assert 0 < mislabelled.sum() < 30


def test_chosen_signals_keep_proposal_and_verdict(profile: Path, tmp_path: Path) -> None:
    names = ["CFRank", "MI"]
    settings = {"mi_orientation": "negative", "layers": "head"}
    score_signals(profile=profile, signals=tmp_path / "signals.parquet", detectors=names, settings=settings)
    table = pd.read_parquet(tmp_path / "signals.parquet")
    assert table.columns.tolist() == ["sample", "label", "CFRank", "MI", "proposed_label", "verdict"]
    np.testing.assert_array_equal(table["MI"], -score("MI", profiles()))


def test_same_bytes_again(profile: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        score_signals(profile=profile, signals=tmp_path / name, detectors="all", settings={})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_unknown_signal(profile: Path, tmp_path: Path) -> None:
    with pytest.raises(GlitchtraceError, match="unknown signal 'CNCJ'; known: AAI, CFRank"):
        score_signals(profile=profile, signals=tmp_path / "signals.parquet", detectors=["CNCJ"], settings={})
    assert not (tmp_path / "signals.parquet").exists()


def test_truncated_profile(profile: Path, tmp_path: Path) -> None:
    profile.write_bytes(profile.read_bytes()[:-3])
    with pytest.raises(GlitchtraceError, match=r"profile\.safetensors cannot be read"):
        score_signals(profile=profile, signals=tmp_path / "signals.parquet", detectors="all", settings={})
