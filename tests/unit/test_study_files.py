"""Files of the configuration: what is wrong is said in one line with file, line, value and remedy."""

import json
import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from glitchtrace.core import configuration, recorded, study_files
from glitchtrace.core.errors import GlitchtraceError

ROOT = Path(__file__).parents[2]
STUDY = """study: mine
grid:
  - datasets: [wine]
    models: [linear]
    glitches: [uniform]
    ratios: [0.1]
    seeds: [0]
"""
LEARNING_RATE = "models:\n  linear@a: {training: {default: {learning_rate: %s}}}\n"


def changed(before: str, after: str) -> str:
    assert before in STUDY
    return STUDY.replace(before, after)


def seeds(written: str) -> str:
    return changed("[0]\n", f"{written}\n")


def completed(file: Path) -> dict[str, Any]:
    default = configuration.read(ROOT / configuration.DEFAULT)
    config = configuration.merge(default, configuration.read(file))
    return configuration.complete(config, default, ROOT, given_by=[ROOT / configuration.DEFAULT, file])


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.yaml"


REFUSED = {
    # what is written: the line, and what is said of it
    seeds("[1.0]"): (7, r"grid\[0\]\.seeds\[0\]: 1\.0 should be of type integer; write 1$"),
    seeds("[-0.0]"): (7, r"seeds\[0\]: -0\.0 should be of type integer; write 0$"),
    seeds("[4294967296]"): (7, "4294967296 is out of range; write a number at most 4294967295"),
    seeds("[-1]"): (7, "-1 is out of range; write a number at least 0"),
    seeds("[2024-01-01]"): (7, "2024-01-01 is read as a date"),
    seeds("[2024-01-01 10:00:00]"): (7, "is read as a date"),
    seeds("[010]"): (7, "010 is read as the octal number 8; write 10"),
    seeds("[1:30]"): (7, "1:30 is read as a number to the base 60"),
    seeds("[true]"): (7, r"seeds\[0\]: True should be of type integer; write a number$"),
    seeds("['3']"): (7, "'3' should be of type integer; write 3, without quotes"),
    seeds("[0, 0]"): (7, "seeds: 0 is given twice; name each value once$"),
    seeds("[]"): (7, "too short"),
    seeds(""): (7, "nothing is written here"),
    seeds("0"): (7, r"seeds: 0 should be of type array; write \[0\]"),
    seeds("[" + "9" * 5000 + "]"): (7, "a number of 5000 digits"),
    seeds("[" + "9" * 50 + "]"): (7, "too large"),
    seeds("[0]\n    seeds: [1]"): (8, r"'seeds' is given twice \(first on line 7\)"),
    seeds("[0]\n    sedes: [1]"): (8, "unknown key 'sedes'; did you mean 'seeds'"),
    STUDY.replace("    seeds: [0]\n", ""): (3, "the key 'seeds' is missing"),
    changed("[0.1]", "[0.00001]"): (6, "write 1e-05 in quotes and in full, '0.00001'"),
    changed("[0.1]", "[1e-2]"): (6, "1e-2 is read as text, not as a number; write 0.01"),
    changed("[0.1]", "[1E5]"): (6, "write 100000$"),
    changed("[0.1]", "[.nan]"): (6, r"\.nan is no number"),
    changed("[0.1]", "[0.1, 0.10]"): (6, "0.10 and 0.1 are the same ratio"),
    STUDY + "  - {datasets: [wine], models: [linear], glitches: [uniform], seeds: [1], ratios: ['0.10']}\n": (
        8,
        r"0\.1 and 0\.10 are the same ratio; write 0\.1 everywhere",
    ),
    STUDY + "detectors:\n  - NIL\n  - default\n": (9, r"detectors\[0\]: 'NIL' is in 'default'; leave it out"),
    STUDY + "detectors:\n  - all\n  - default\n": (10, r"detectors\[1\]: 'default' is in 'all'"),
    STUDY + "figures: {formats: [png, svg, png]}\n": (8, r"figures\.formats: png is given twice; name each"),
    STUDY + "estimators:\n  tracin@a: {layers: [head, head]}\n": (9, "layers: head is given twice"),
    STUDY + "relabellings:\n  rdia@a: {alpha: null, alphas: [1, 1.0]}\n": (9, "alphas: 1 is given twice"),
    STUDY + "policies: [oracle, default]\n": (8, r"policies\[0\]: 'oracle' is in 'default'"),
    STUDY + "datasets: {table_file@a: {path: a.csv, label: -1}}\n": (8, "label: -1 is out of range"),
    changed("[0.1]", "[1.5]"): (6, "1.5 is not a ratio"),
    changed("[wine]", "wine"): (3, r"'wine' should be of type array; write \[wine\]"),
    changed("[wine]", "[no]"): (3, "write the word in quotes"),
    changed("[wine]", "[7]"): (3, "7 should be of type string; write '7'"),
    changed("[wine]", "[whine]"): (3, "unknown dataset 'whine'"),
    changed("[wine]", "[../etc]"): (3, "is not a legal name"),
    changed("  - data", "\t- data"): (3, "a tab; YAML is indented by spaces"),
    changed("study: mine", "study: übung"): (1, "'übung' is not a legal name"),
    STUDY + "grid: []\n": (8, r"'grid' is given twice \(first on line 2\), and the first would be lost"),
    STUDY + "dévice: cpu\n": (8, "unknown key 'dévice'; did you mean 'device'"),
    STUDY + "device: *nope\n": (8, "no YAML"),
    STUDY + "device: !!python/object:os.system x\n": (8, "the tag !!python/object:os.system"),
    STUDY + "device: !mine cpu\n": (8, "the tag !mine"),
    STUDY + "1: 2\n": (8, "the key 1 is no text"),
    STUDY + "on: 2\n": (8, "the key on is no text"),
    STUDY + "? [a]\n: 1\n": (8, "a list or mapping as a key"),
    STUDY + "x: &a [*a]\n": (8, "within its own anchor"),
    STUDY + "<<: 3\n": (8, "only a mapping can be merged"),
    STUDY + "repair: 'no'\n": (8, "write false"),
    STUDY + "evaluation_batch: 0\n": (8, "write a number at least 1"),
    STUDY + "evaluation_batch: 1.0e+999\n": (8, "is no number of a study"),
    STUDY + "evaluation_batch:\n": (8, "nothing is written here"),
    STUDY + "components: mine\n": (8, r"write \[mine\]"),
    STUDY + "pathvars: [x]\n": (8, "should be of type object"),
    STUDY + "pathvars: {results: ''}\n": (8, r"pathvars\.results: the text is empty"),
    STUDY + "pathvars: {results: 3}\n": (8, r"pathvars\.results: 3 should be of type string; write '3'"),
    STUDY + "pathvars: {result: /tmp/x}\n": (8, "pathvars: unknown key 'result'; did you mean 'results'"),
    STUDY + "device: gpu\n": (8, "device: unknown value 'gpu'; known: cpu, cuda, auto"),
    STUDY + "models:\n  linear@a-0.1: {}\n": (
        9,
        "'linear@a-0.1' is not a legal name; after the @ write lower",
    ),
    STUDY + "models:\n  linear@a: {training: {whine: {epochs: 2}}}\n": (
        9,
        r"models\.linear@a\.training: unknown dataset 'whine'; did you mean 'wine'",
    ),
    STUDY + "models:\n  linear@a: {training: {wine@b: {epochs: 2}}}\n": (9, "unknown dataset 'wine@b'"),
    STUDY + "datasets:\n  wine@a: {validation_ratio: 0.3}\n": (
        9,
        "has no effect with validation_source holdout",
    ),
    STUDY + "datasets:\n  mnist@a: {holdout_order: tail}\n": (
        9,
        "has no effect with validation_source test_split",
    ),
    STUDY + "datasets:\n  mnist@a: {test_ratio: 0.1}\n": (9, "mnist@a has an official test part"),
    STUDY + "datasets:\n  wine@a: {test_ratio: 0.1, test_size: 9}\n": (9, "no effect beside test_size"),
    STUDY + "datasets:\n  wine@a: {subset_ratio: 0.1, subset_size: 9}\n": (9, "is given beside subset_size"),
    STUDY + "policy_settings:\n  drop@a: {share: 0.2}\n": (
        9,
        r"policy_settings\.drop@a\.share: has no effect with number known; leave it out, or write number: share$",
    ),
    STUDY + "selections:\n  rdia_ls@a: {gammas: [0.1, 0.2]}\n": (9, "with gamma 0.5; .* write gamma: null$"),
    STUDY + "estimators:\n  ekfac@a: {epochs: [1]}\n  metagradient@a:\n    epochs: [1]\n": (
        11,
        r"estimators\.metagradient@a\.epochs: the metagradient is that of the whole training; leave it out",
    ),
    STUDY + "estimators: {ekfac@a: {divide_by_batch_size: true}}\n": (8, "no learning rate to divide; leave"),
    STUDY + "glitches:\n  class_dependent@a: {transition_matrix: pairflip}\n": (
        9,
        "'pairflip' is not a legal",
    ),
    changed("[uniform]", "[mixture@a]")
    + "glitches: {mixture@a: {steps: [{glitch: corruption, ratio: 0.1, severity: 9}]}}\n": (
        8,
        r"glitches: a mixture's step corruption\.severity: 9 is out of range",
    ),
    STUDY + "glitches:\n  class_dependent@a: {classes_to_contaminate: 0}\n": (9, "write a number at least 1"),
    STUDY + "negotiators:\n  if@a: {solver: cg}\n  relatif@a:\n    depth: 3\n": (11, "with solver cg"),
    STUDY + "negotiators:\n  full_fisher@a: {cutoff: 1.e-8}\n": (
        9,
        "with damping 0.01; .* write damping: 0$",
    ),
    STUDY + "models:\n  efficientnet_lite1@a: {preprocessing: own, interpolation: bilinear}\n": (
        9,
        "with preproc",
    ),
    changed("[linear]", "[linear@b]"): (
        4,
        r"grid\[0\]\.models\[0\]: linear@b is a variant without settings; add models",
    ),
    STUDY + "detectors: [knn_vote@b]\n": (
        8,
        "detectors: knn_vote@b is a variant without settings; add detector_settings",
    ),
    STUDY + "---\n" + STUDY: (8, "a second document"),
    STUDY + "repair: \x01\n": (8, "control characters|not allowed"),
    STUDY + LEARNING_RATE % "1e-2": (9, "write 0.01"),
    STUDY + LEARNING_RATE % "'1e-2'": (9, "'1e-2' should be of type number; write 0.01, without quotes"),
    STUDY + LEARNING_RATE % "-.INF": (9, r"-\.INF is no number"),
    STUDY + LEARNING_RATE % "1e-10": (9, r"write 1\.0e-10$"),
    "": (None, "holds no keys"),
    "# only a comment\n": (None, "holds no keys"),
    "- a\n": (1, "holds no keys"),
    "\n7\n": (2, "holds no keys"),
    '{"study": "x", "evaluation_batch": 1e2}': (1, "100.0 should be of type integer; write 100"),
    '{"study": "x", "study": "y"}': (1, "'study' is given twice"),
}


@pytest.mark.parametrize(("text", "line", "message"), [(text, *said) for text, said in REFUSED.items()])
def test_a_fault_in_a_file_is_one_line_with_its_place(
    written: Path, text: str, line: int | None, message: str
) -> None:
    written.write_text(text, encoding="utf-8")
    with pytest.raises(GlitchtraceError, match=message) as caught:
        completed(written)
    place = f"{written}:{line}" if line else f"{written}"
    assert re.match(rf"{re.escape(place)}\b(?!:\d)", str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    # Where the workflow looks for the place of an error, it meets the same file, which may not be readable.
    assert str(configuration.located(caught.value, {}, [written])) == str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        seeds("[-0]"),
        seeds("[1_000, 0x10, 0b11, +7]"),
        seeds("[4294967295]"),
        changed("[0.1]", "['0.00001']"),
        STUDY.replace("\n", "\r\n"),
        "\N{ZERO WIDTH NO-BREAK SPACE}" + STUDY,
        seeds("&all [0, 1]")
        + "  - {datasets: [iris], models: [mlp], glitches: [uniform], ratios: [0.1], seeds: *all}",
        STUDY
        + "  - <<: {models: [mlp], seeds: [9]}\n    datasets: [iris]\n    glitches: [uniform]\n    ratios: [0.2]\n",
        STUDY + "repair: off\n",
    ],
)
def test_what_is_right_is_read_as_snakemake_reads_it(written: Path, text: str) -> None:
    written.write_text(text, encoding="utf-8")
    assert configuration.read(written) == yaml.safe_load(text)
    completed(written)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"study: mine\n# caf\xe9\n", ":2: the byte 0xe9 is no UTF-8"),
        (STUDY.encode("utf-16"), ":1: the byte 0xff is no UTF-8"),
        (STUDY.encode() + b"\xed\xa0\x80", ":8: the byte 0xed is no UTF-8"),
    ],
)
def test_another_encoding_is_named_with_its_line(written: Path, raw: bytes, message: str) -> None:
    written.write_bytes(raw)
    with pytest.raises(GlitchtraceError, match=f"mine.yaml{message}; save the file in the encoding UTF-8"):
        configuration.read(written)


def test_aliases_that_open_to_billions_and_deep_nesting_are_refused_at_once(written: Path) -> None:
    rows = [f"{b}: &{b} [{','.join(['*' + a] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    for text in ("\n".join(["a: &a [1, 1]", *rows]), "a: " + "[" * 20_000):
        written.write_text(text)
        with pytest.raises(GlitchtraceError, match=r"mine.yaml.*(aliases|nest)"):
            configuration.read(written)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(GlitchtraceError, match="cannot be read"):
            configuration.read(file)


@given(st.text() | st.binary())
def test_any_content_is_read_or_refused_in_one_line(tmp_path_factory: Any, content: str | bytes) -> None:
    file = tmp_path_factory.mktemp("study") / "any.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        said = repr(configuration.read(file))
    except GlitchtraceError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "is no number"),
        (float("inf"), "is no number"),
        (1.0, "write 1$"),
        ("1e-2", ""),
        (2**70, "too large"),
        (yaml.safe_load("2024-01-01"), "is read as a date"),
    ],
)
def test_without_a_file_the_key_alone_is_named(written: Path, value: object, message: str) -> None:
    """A value by --config, or of a workflow around this one."""
    written.write_text(STUDY)
    default = configuration.read(ROOT / configuration.DEFAULT)
    config = {**default, "evaluation_batch": value}
    for base, files in ((default, [ROOT / configuration.DEFAULT, written]), (None, [])):
        with pytest.raises(GlitchtraceError, match=rf"^evaluation_batch: .*{message}"):
            configuration.complete(config, base, ROOT, given_by=files)


# --- settings kept beside the results -----------------------------------------------------------------------------


def as_module(**changes: Any) -> dict[str, Any]:
    """The configuration of a workflow around this one."""
    return configuration.complete({**yaml.safe_load(STUDY), **changes}, None, ROOT)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"device": "auto"}, "device: .* made with cpu, not auto"),
        ({"evaluation_batch": 7}, "evaluation_batch: .* made with 100, not 7"),
        ({"datasets": {"wine": {"test_ratio": 0.4}}}, r"datasets\.wine\.test_ratio: .* not 0\.4"),
        (
            {"models": {"linear": {"training": {"default": {"epochs": 3}}}}},
            r"models\.linear\.training\.default\.epochs",
        ),
    ],
)
def test_other_content_for_an_existing_path_is_refused_however_it_came_in(
    written: Path, changes: dict[str, Any], key: str
) -> None:
    as_module(**changes)  # nothing is there yet
    recorded.write(as_module())
    as_module()
    with pytest.raises(GlitchtraceError, match=key) as caught:
        as_module(**changes)
    assert "\n" not in str(caught.value)
    file = re.search(r"delete (\S+) to make", str(caught.value))
    assert file
    Path(file[1]).unlink()
    as_module(**changes)


def test_two_studies_may_not_mean_different_things_by_one_variant(written: Path) -> None:
    text = STUDY.replace("[linear]", "[linear@a]") + LEARNING_RATE
    written.write_text(text % "0.5")
    recorded.write(completed(written))
    completed(written)
    written.write_text(text % "0.25")
    with pytest.raises(GlitchtraceError, match=r"mine.yaml:9: models.linear@a.*made with 0.5, not 0.25"):
        completed(written)


def test_results_that_cannot_be_written_are_one_line(written: Path) -> None:
    written.write_text(STUDY)
    whole = completed(written)
    cell = "wine/linear/uniform-0.1/seed-0/tracin"
    recorded.write(whole)
    recorded.check_folders(whole, [cell])
    Path("results/wine").mkdir()
    Path("results/wine/linear").touch()
    with pytest.raises(GlitchtraceError, match=r"^results/wine/linear is a file where a folder"):
        recorded.check_folders(whole, [cell])
    other = {**whole, "pathvars": {"results": "results/wine/linear"}}
    with pytest.raises(GlitchtraceError, match=r"cannot be written there .*another folder"):
        recorded.write(other)
    with (
        mock.patch.object(recorded.tempfile, "TemporaryDirectory", side_effect=OSError(30, "Read-only", "x")),
        pytest.raises(GlitchtraceError, match="Read-only"),
    ):
        recorded.write(whole)


def test_what_all_studies_share_may_change_and_is_recorded_anew(written: Path) -> None:
    """Snakemake makes anew what follows from it."""
    written.write_text(STUDY)
    whole = completed(written)
    recorded.write(whole)
    file = Path("results/settings/model/linear.json")
    record = json.loads(file.read_text())
    other = json.loads(json.dumps(whole))
    other["settings"]["model"]["linear"]["training"]["default"]["epochs"] += 1
    recorded.write(other)
    assert json.loads(file.read_text()) != record
    recorded.write(completed(written))
    assert json.loads(file.read_text()) == record


def test_a_setting_that_a_release_added_is_no_other_content(written: Path) -> None:
    older = json.loads(json.dumps(as_module()))
    del older["settings"]["model"]["linear"]["training"]["default"]["epochs"]
    recorded.write(older)
    as_module()
    as_module(models={"linear": {"training": {"default": {"epochs": 3}}}})


def test_lines_are_those_of_the_values(written: Path) -> None:
    written.write_text(STUDY)
    lines = study_files.read(written).lines
    assert lines[("study",)] == 1
    assert lines[("grid", 0, "seeds", 0)] == 7
