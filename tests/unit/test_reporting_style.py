"""The style module: order, colours, names and files."""

import inspect
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.reporting import style

FORMATS = ("svg", "pdf", "png")
LISTED_SIGNALS = [name for members in style.SIGNAL_FAMILIES.values() for name in members]

# Machado, Oliveira and Fernandes (2009), deuteranopia at full severity, on linear RGB.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
# Linear sRGB to CIE XYZ (D65), and the white point.
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def seen_lab(colour: str, vision: np.ndarray) -> np.ndarray:
    """CIELAB of a colour ``#RRGGBB`` as it is seen."""
    encoded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    relative = XYZ @ np.clip(vision @ linear, 0, 1) / WHITE
    f = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def seen_distance(first: str, second: str, vision: np.ndarray) -> float:
    return float(np.linalg.norm(seen_lab(first, vision) - seen_lab(second, vision)))


DRAWN_TOGETHER = {
    "signals": [style.signal_colour(name) for name in ("SI", "CNCI", "PCID", "CFRank")],
    "policies": [style.policy_mark(name)[0] for name in ("random", "influence", "oracle")],
    "kinds": [*style.KIND_COLOURS.values(), style.INK],
}


@pytest.mark.parametrize("colours", DRAWN_TOGETHER.values(), ids=DRAWN_TOGETHER)
@pytest.mark.parametrize("vision", [np.eye(3), DEUTERANOPIA], ids=["normal", "deuteranopia"])
def test_colours_drawn_together_stay_apart(colours: list[str], vision: np.ndarray) -> None:
    for first, second in itertools.combinations(colours, 2):
        assert seen_distance(first, second, vision) >= 20, (first, second)


def test_the_simulation_confuses_red_with_green() -> None:
    red, green = "#C04040", "#6E6A30"
    assert seen_distance(red, green, np.eye(3)) > 50
    assert seen_distance(red, green, DEUTERANOPIA) < 20


def test_marks_do_without_colour() -> None:
    assert len(set(style.POLICY_MARKERS.values())) == len(style.POLICY_COLOURS)
    assert (
        len(set(style.KIND_MARKERS.values()))
        == len(set(style.KIND_DASHES.values()))
        == len(style.KIND_COLOURS)
    )
    assert len(set(style.FAMILY_HATCHES.values())) == len(style.SIGNAL_FAMILIES)


def test_every_registered_signal_and_policy_has_its_colour() -> None:
    assert {name for name in registry.names("detector") if style.family(name) is None} == set()
    assert set(registry.names("policy")) <= set(style.POLICY_COLOURS)


@given(st.lists(st.sampled_from([*LISTED_SIGNALS, "PCID@all_epochs", "mine", "another"])), st.randoms())
@settings(deadline=None, derandomize=True, max_examples=50)
def test_order_of_signals_depends_on_the_set_alone(names: list[str], random) -> None:
    ordered = style.ordered_signals(names)
    shuffled = list(names)
    random.shuffle(shuffled)
    assert style.ordered_signals(shuffled) == ordered == style.ordered_signals(ordered)
    assert sorted(set(names)) == sorted(ordered)
    families = [family for family, _ in itertools.groupby(map(style.family, ordered))]
    assert families == [f for f in [*style.SIGNAL_FAMILIES, None] if f in families]


def test_a_variant_looks_like_its_base_and_says_so() -> None:
    assert style.signal_colour("PCID@all_epochs") == style.signal_colour("PCID")
    assert style.human_name("dataset", "mnist@dirty_validation") == "MNIST (dirty validation)"


def test_names_of_glitches() -> None:
    assert style.human_glitch("uniform", "0.05") == f"{style.human_name('glitch', 'uniform')}, 5 %"
    assert style.human_glitch("mixture", "native") == style.human_name("glitch", "mixture")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(GlitchtraceError, match=r"unknown dataset 'minst'; known: .*mnist"):
        style.human_name("dataset", "minst")


@given(st.text("abc de", max_size=60), st.floats(0.3, 3))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_wrapped_text_fits_and_is_whole(text: str, inches: float) -> None:
    lines = style.wrapped(text, inches, 7.0)
    assert "".join(lines.split()) == "".join(text.split())
    assert max(map(len, lines.split("\n"))) <= max(8, inches * 72 / (0.58 * 7.0))


def test_a_number_and_its_percent_sign_stay_in_one_line() -> None:
    """Also where a line would end between them."""
    text = style.human_glitch("class_dependent", "0.1")
    for inches in np.linspace(1.0, 4, 60):
        lines = style.wrapped(text, inches)
        assert "10 %" in lines
        assert " ".join(lines.split()).replace("- ", "-") == text


@pytest.mark.parametrize(
    ("counts", "text"),
    [([5, 5], "mean ± sd, 5 seeds"), ([3, 5], "mean ± sd, 3 to 5 seeds"), ([1, 1], "one seed")],
)
def test_spread_says_how_many_seeds(counts: list[int], text: str) -> None:
    assert style.spread("mean ± sd", counts) == text


@style.styled()
def sample_figure() -> Figure:
    figure = style.new_figure(2, 1.5)
    axes = figure.subplots()
    axes.bar([0, 1], [0.2, 0.7], hatch="//")
    axes.set(xlabel="é ± β", title="title")
    return figure


def test_saving_is_repeatable_in_every_format(tmp_path: Path) -> None:
    for run in ("first", "second"):
        style.save(sample_figure(), [tmp_path / run / f"figure.{suffix}" for suffix in FORMATS])
    again = sample_figure()
    style.save(again, [tmp_path / "other.png"])
    style.save(again, [tmp_path / "third" / f"figure.{suffix}" for suffix in FORMATS])
    for suffix in FORMATS:
        contents = {
            (tmp_path / run / f"figure.{suffix}").read_bytes() for run in ("first", "second", "third")
        }
        assert len(contents) == 1
        assert len(contents.pop()) > 1000
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == sorted(
        f"figure.{s}" for s in FORMATS
    )


def test_files_name_no_date_and_no_program(tmp_path: Path) -> None:
    targets = [tmp_path / f"figure.{suffix}" for suffix in FORMATS]
    style.save(sample_figure(), targets)
    for target in targets:
        content = target.read_bytes().lower()
        for word in (b"matplotlib v", b"<dc:date", b"creationdate", b"moddate", b"software", b"producer"):
            assert word not in content


SCRIPT = f"""
import sys
import glitchtrace.reporting.figures.gallery, glitchtrace.reporting.figures.gain
import glitchtrace.reporting.figures.characterisation, glitchtrace.reporting.figures.signals
assert "torch" not in sys.modules
from matplotlib.figure import Figure
from glitchtrace.reporting import style
{inspect.getsource(sample_figure)}
style.save(sample_figure(), sys.argv[1:])
"""


def test_another_process_writes_the_same_bytes_and_needs_no_torch(tmp_path: Path) -> None:
    here, there = ([tmp_path / run / f"figure.{suffix}" for suffix in FORMATS] for run in ("here", "there"))
    style.save(sample_figure(), here)
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT, *map(str, there)], check=True, env=environment)
    assert [path.read_bytes() for path in here] == [path.read_bytes() for path in there]


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(GlitchtraceError, match=r"figure.gif: unknown format; use one of \.svg, \.pdf, \.png"):
        style.save(sample_figure(), [tmp_path / "figure.png", tmp_path / "figure.gif"])
    assert list(tmp_path.iterdir()) == []


def test_hatches_are_lines_for_curves_fill_a_report() -> None:
    hatches = [*style.FAMILY_HATCHES.values(), *(hatch for _, hatch in style.RIVAL_FAMILIES.values())]
    assert set("".join(hatches)) <= set("/\\|-+x")
