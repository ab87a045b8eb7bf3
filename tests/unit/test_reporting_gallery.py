"""The gallery of suspicious pictures."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.glitches.kinds import Kind
from glitchtrace.reporting import style
from glitchtrace.reporting.figures import gallery

DIGITS = [str(digit) for digit in range(10)]
NAMES = {"digits": DIGITS, "photo_patches": ["china", "flower"]}


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, np.inf]), min_size=1, max_size=12), st.integers(1, 12))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_order_is_by_score_then_by_index(scores: list[float], count: int) -> None:
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count]
    assert list(gallery.most_suspicious(np.array(scores), count)) == expected


def row(**changes: Any) -> SimpleNamespace:
    values = {"source": "digits", "label": 3, "proposed_label": 8, "true_label": 3, "source_label": 3}
    return SimpleNamespace(**{**values, "kind": Kind.CLEAN, **changes})


@pytest.mark.parametrize(
    ("sample", "lines"),
    [
        (row(), ["label: 3", "proposed: 8", "true: 3", "✗ false alarm"]),
        (row(kind=Kind.MISLABELLED, true_label=8), ["label: 3", "proposed: 8", "true: 8", "✓ mislabelled"]),
        (
            row(kind=Kind.ANOMALOUS, true_label=-1, source="photo_patches", source_label=1),
            ["label: 3", "proposed: 8", "foreign: flower", "✓ anomalous"],
        ),
        (row(kind=Kind.NEAR_DUPLICATE), ["label: 3", "proposed: 8", "true: 3", "✓ near duplicate"]),
    ],
    ids=["clean", "mislabelled", "foreign", "near duplicate"],
)
def test_caption_says_what_the_sample_is(sample: SimpleNamespace, lines: list[str]) -> None:
    assert gallery.caption(sample, NAMES, host=DIGITS) == lines


def test_long_lines_are_cut_with_an_ellipsis() -> None:
    assert gallery.shortened("proposed: T-shirt/top") == "proposed: T-shirt/top"
    cut = gallery.shortened("foreign: a class with a very long name")
    assert cut.endswith("…")
    assert cut[:-1] == "foreign: a class with a very long name"[: len(cut) - 1]


@pytest.fixture
def cell(tmp_path: Path) -> dict[str, Any]:
    """Arguments of the stage for eight real digits and two foreign colour pictures."""
    bunch = load_digits()
    pictures = {
        "digits": np.rint(bunch.images[:8] * 255 / 16).astype(np.uint8),
        "photo_patches": np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8),
    }
    for name, array in pictures.items():
        folder = tmp_path / "sources" / name
        folder.mkdir(parents=True)
        np.save(folder / "features.npy", array)
        description = {"modality": "image", "classes": NAMES[name]}
        (folder / "source.json").write_text(json.dumps(description), encoding="utf-8")
    true = bunch.target[:8].astype(np.int64)
    samples = pd.DataFrame(
        {
            "source": ["digits"] * 8 + ["photo_patches"] * 2,
            "row": [*range(8), 0, 1],
            "label": np.concatenate([(true[:3] + 1) % 10, true[3:], [4, 4]]),
            "true_label": np.concatenate([true, [-1, -1]]),
            "source_label": np.concatenate([true, [0, 1]]),
            "kind": np.array([Kind.MISLABELLED] * 3 + [Kind.CLEAN] * 5 + [Kind.ANOMALOUS] * 2, dtype=np.int8),
        }
    )
    samples.to_parquet(tmp_path / "glitch.parquet")
    scored = pd.DataFrame({"sample": range(10), "label": samples["label"], "CFRank": np.arange(10.0)})
    scored.assign(proposed_label=5, verdict=1).to_parquet(tmp_path / "scores.parquet")
    return {
        "scores": tmp_path / "scores.parquet",
        "glitch": tmp_path / "glitch.parquet",
        "features": [tmp_path / "sources" / name / "features.npy" for name in pictures],
        "descriptions": [tmp_path / "sources" / name / "source.json" for name in pictures],
        "figures": [tmp_path / "out" / f"gallery.{suffix}" for suffix in ("svg", "pdf", "png")],
        "dataset": "digits",
        "model": "mlp",
        "planted": "uniform",
        "ratio": "0.1",
        "seed": 3,
        "signal": "CFRank",
        "size": 8,
    }


def test_the_stage_writes_the_same_bytes_twice(cell: dict[str, Any]) -> None:
    gallery.plot_gallery(**cell)
    first = [path.read_bytes() for path in cell["figures"]]
    gallery.plot_gallery(**cell)
    assert first == [path.read_bytes() for path in cell["figures"]]
    assert sorted(cell["figures"][0].parent.iterdir()) == sorted(cell["figures"])


def test_the_stage_shows_the_right_pictures(cell: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}

    def record(images: np.ndarray, captions: list[list[str]], finds: np.ndarray, *, title: str) -> Any:
        drawn.update(images=images, captions=captions, finds=finds, title=title)
        return style.new_figure(1, 1)

    monkeypatch.setattr(gallery, "draw_gallery", record)
    gallery.plot_gallery(**cell)
    # Scores rise with the position: the two foreign pictures come first, then the digits backwards.
    assert [lines[0] for lines in drawn["captions"][:2]] == ["score: 9", "score: 8"]
    assert [lines[3] for lines in drawn["captions"]] == ["foreign: flower", "foreign: china"] + [
        f"true: {digit}" for digit in load_digits().target[7:1:-1]
    ]
    assert list(drawn["finds"]) == [True, True, False, False, False, False, False, True]
    assert drawn["images"].shape == (8, 8, 8)
    np.testing.assert_array_equal(drawn["images"][2], np.load(cell["features"][0])[7])
    assert drawn["title"].splitlines() == [
        "Digits: most suspicious by CFRank, the highest score first",
        "MLP, uniform label noise, 10 %, seed 3",
    ]


def test_finds_and_false_alarms_differ_in_more_than_colour() -> None:
    images = np.zeros((7, 4, 4), dtype=np.uint8)
    finds = np.array([True, False, True, True, True, True, True])
    figure = gallery.draw_gallery(images, [["x"]] * 7, finds, title="title")
    frames = [axes.spines["left"] for axes in figure.axes[:2]]
    assert frames[0].get_linestyle() != frames[1].get_linestyle()
    assert frames[0].get_linewidth() > frames[1].get_linewidth()
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["✓ glitch: 6 of 7", "✗ false alarm: 1 of 7"]
    assert [axes.get_visible() for axes in figure.axes] == [True] * 7 + [False] * 5


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        (-0.001234, "-0.00123"),
        (9.0, "9"),
        (99.96, "100"),
        (1264.5, "1,264"),
        (-123456.0, "-123,456"),
        (3e9, "3e+09"),
    ],
)
def test_scores_are_numbers_that_a_person_reads(score: float, shown: str) -> None:
    assert gallery.number(score) == shown


@pytest.mark.parametrize("count", [1, 7, 24])
def test_pictures_and_captions_do_not_touch(count: int) -> None:
    lines = [
        "score: -0.00123",
        "label: T-shirt/top",
        "proposed: T-shirt/top",
        "foreign: a class with a long name",
        "✓ anomalous",
    ]
    images = np.zeros((count, 28, 28), dtype=np.uint8)
    figure = gallery.draw_gallery(images, [lines] * count, np.ones(count, dtype=bool), title="Fashion-MNIST")
    with style.styled():
        figure.draw_without_rendering()
    [legend] = figure.legends
    shown = [axes for axes in figure.axes if axes.get_visible()]
    boxes = [legend.get_window_extent(), *(axes.get_tightbbox() for axes in shown)]
    for i, a in enumerate(boxes):
        assert 0 <= a.x0 < a.x1 <= figure.bbox.x1
        assert 0 <= a.y0 < a.y1 <= figure.bbox.y1
        for b in boxes[:i]:
            assert min(a.x1, b.x1) - max(a.x0, b.x0) <= 0.5 or min(a.y1, b.y1) - max(a.y0, b.y0) <= 0.5


def test_a_table_has_no_gallery(cell: dict[str, Any]) -> None:
    cell["descriptions"][0].write_text(json.dumps({"modality": "table", "classes": DIGITS}), encoding="utf-8")
    with pytest.raises(GlitchtraceError, match="dataset digits is a table; a gallery needs pictures"):
        gallery.plot_gallery(**cell)


def test_a_signal_that_was_not_scored_is_named(cell: dict[str, Any]) -> None:
    with pytest.raises(
        GlitchtraceError, match=r"scores\.parquet has no detector 'CNCI'; add it to 'detectors'"
    ):
        gallery.plot_gallery(**{**cell, "signal": "CNCI"})
    assert not cell["figures"][0].parent.exists()


def test_tables_of_different_samples_are_refused(cell: dict[str, Any]) -> None:
    pd.read_parquet(cell["glitch"])[:-1].to_parquet(cell["glitch"])
    with pytest.raises(GlitchtraceError, match="describe different samples"):
        gallery.plot_gallery(**cell)
