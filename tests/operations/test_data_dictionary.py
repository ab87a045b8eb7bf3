"""docs/data-dictionary.md says of every file of a run what is in it: nothing more, nothing less."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from running import ROOT, Checkout, copy_of_the_checkout
from safetensors import safe_open

from glitchtrace.core import paths
from glitchtrace.core.files import SCHEMA_VERSION

PAGE = (ROOT / "docs/data-dictionary.md").read_text()
JSON_TYPES = {
    "integer": int,
    "text": str,
    "mapping": dict,
    "list of text": list,
    "list of text or null": (list, type(None)),
    "mapping or null": (dict, type(None)),
    "mapping, integer or text": (dict, int, str),
}


def pattern(template: str) -> str:
    """The regular expression of a path or name with {wildcards}; <study> is that of any study, others any choice."""
    escaped = re.escape(template).replace(re.escape("<study>/"), "(?:studies/[a-z0-9_]+/)?")
    escaped = re.sub("<(?:detectors|policies)>", r"(?:\\+[^/]+)?", escaped)
    escaped = escaped.replace("<truth>", r"truth-\d+-\d+")
    one = "/".join(re.sub(r"\\\{\w+\\\}", "[^/]+", part) for part in escaped.split("/"))
    return one.replace("[^/]+/[^/]+\\.json", ".+\\.json") if template.startswith("{folder}") else one


def sections() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Template of a file -> column -> (type, unit, meaning)."""
    found = {}
    for section in re.split(r"\n## ", PAGE)[1:]:
        title, _, body = section.partition("\n")
        rows = [
            [part.strip() for part in line.split(" | ")]
            for line in body.splitlines()
            if line.startswith("| ")
        ]
        columns = {row[0].strip("|` "): (row[1], row[2], row[3].rstrip("| ")) for row in rows[1:]}
        for template in re.findall(r"`([^`]+)`", title):
            found[template] = columns
    return found


SECTIONS = sections()
# A cell of every system beside the detection grid, each as small as it gets.
OTHER_SYSTEMS = {
    "grid": [],
    "cleansing": [
        {"datasets": ["digits"], "models": ["small_cnn@brief"], "glitches": ["uniform"], "ratios": [0.1]}
        | {"seeds": [0], "protocols": ["sgd"], "cleansing_methods": ["sgd_last", "random"]}
        | {"removals": [0, 50], "retrain": ["last"]}
    ],
    "fidelity": [{"fidelity_tasks": ["digits_3_8"], "networks": ["dnn"], "seeds": [0]}],
    "cincer": [
        {"datasets": ["iris"], "models": ["logreg"], "loops": ["interactive@brief"], "ratios": [0.2]}
        | {"inspectors": ["margin"], "thresholds": [0.2], "negotiators": ["top_fisher"], "repeats": 1}
    ],
    "cincer_influence": [
        {"datasets": ["iris"], "models": ["logreg"], "loops": ["interactive@brief"], "ratios": [0.2]}
        | {"refits": ["optimum"], "negotiators": ["top_fisher"], "repeats": 1}
    ],
    "rdia": [
        {"datasets": ["digits@rdia"], "glitches": ["uniform"], "ratios": [0.2], "seeds": [0]}
        | {"relabellings": ["erm", "rdia"]}
    ],
    "rdia_ls": [
        {"datasets": ["digits@rdia"], "models": ["mlp@hidden_256"], "glitches": ["uniform"]}
        | {"ratios": [0.2], "seeds": [0], "selections": ["plain@brief", "rdia_ls@brief"]}
    ],
    "models": {"small_cnn@brief": {"training": {"default": {"epochs": 2}}}},
    "loops": {"interactive@brief": {"known": 30, "iterations": 10, "epochs": 20, "bits": 64}},
    "selections": {
        "plain@brief": {"epochs": 2, "batch_size": 64, "decay_start": 1},
        "rdia_ls@brief": {"epochs": 2, "batch_size": 64, "decay_start": 1},
    },
}


@pytest.fixture(scope="module")
def other_systems(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A finished run of the other systems, without their figures."""
    checkout = Checkout(copy_of_the_checkout(tmp_path_factory.mktemp("others") / "run"))
    (checkout.folder / "others.yaml").write_text(yaml.safe_dump(OTHER_SYSTEMS))
    study = "results/studies/others/"
    tables = ("cleansing/gain", "cleansing/cost", "fidelity/fidelity", "cincer", "cincer_influence")
    targets = [f"{study}{name}.parquet" for name in (*tables, "rdia", "rdia_ls")]
    checkout.run(*targets, study="others.yaml")
    return checkout


@pytest.fixture
def results(request: pytest.FixtureRequest) -> Path:
    """The results folder of the run that a test names."""
    return request.getfixturevalue(request.param).folder / "results"


every_run = pytest.mark.parametrize("results", ["finished", "other_systems"], indirect=True)


def section_of(path: str) -> tuple[str, dict[str, tuple[str, str, str]]]:
    """The section of a file: of the templates that it has, the one with the most letters outside of wildcards."""
    found = [template for template in SECTIONS if re.fullmatch(pattern(template), path)]
    assert found, f"{path} is not in docs/data-dictionary.md"
    template = max(found, key=lambda template: len(re.sub(r"\{\w+\}", "", template)))
    return template, SECTIONS[template]


def found_columns(path: Path) -> tuple[dict[str, str], str]:
    """Column -> type, and the schema version, as the file has them."""
    if path.suffix == ".parquet":
        schema = pq.read_schema(path)
        names = {"double": "float64", "large_string": "string"}
        types = {field.name: names.get(str(field.type), str(field.type)) for field in schema}
        return types, schema.metadata[b"schema_version"].decode()
    with safe_open(path, framework="np") as stored:
        types = {name: str(stored.get_tensor(name).dtype) for name in stored.keys()}  # noqa: SIM118
        return types, stored.metadata()["schema_version"]


def described(name: str, columns: dict[str, tuple[str, str, str]]) -> str | None:
    """The entry of a column: of its own name, else of the pattern that it has with the most letters."""
    if name in columns:
        return name
    found = [e for e in columns if "{" in e and re.fullmatch(re.sub(r"\{\w+\}", ".+", e), name)]
    return max(found, key=lambda entry: len(re.sub(r"\{\w+\}", "", entry)), default=None)


@every_run
@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
def test_every_column_is_described_with_its_type(suffix: str, results: Path) -> None:
    files = sorted(results.rglob(f"*{suffix}"))
    assert files
    assert f"**Schema version {SCHEMA_VERSION}.**" in PAGE
    for path in files:
        template, columns = section_of(str(path.relative_to(results)))
        types, version = found_columns(path)
        assert version == str(SCHEMA_VERSION), path
        entries = {name: described(name, columns) for name in types}
        for name, entry in entries.items():
            assert entry, f"{template}: the column {name} is not described"
            assert types[name] in columns[entry][0].split(" or "), f"{template}: {name} is {types[name]}"
        missing = {entry for entry in columns if "{" not in entry} - set(entries.values())
        optional = {"train/features", "validation/features"}  # these or one per epoch
        assert not missing - optional, f"{template}: {missing} described but not there"


@every_run
def test_every_record_is_described(results: Path) -> None:
    files = sorted(results.rglob("*.json"))
    assert files
    for path in files:
        template, columns = section_of(str(path.relative_to(results)))
        content = json.loads(path.read_text())
        assert set(content) == set(columns), template
        assert content["schema_version"] == SCHEMA_VERSION
        for key, value in content.items():
            assert isinstance(value, JSON_TYPES[columns[key][0]]), (template, key)


@every_run
def test_every_array_is_described(results: Path) -> None:
    for path in sorted(results.rglob("*.npy")):
        _, columns = section_of(str(path.relative_to(results)))
        assert str(np.load(path, mmap_mode="r").dtype) in columns["(array)"][0].split(" or ")


def test_every_file_that_the_paths_know_is_described() -> None:
    templates = [value for value in vars(paths).values() if isinstance(value, str) and "/" in value]
    for template in templates:
        if template.endswith((".parquet", ".safetensors", ".npy", ".json")):
            assert template.removeprefix("<results>/") in SECTIONS, template


def test_every_column_has_type_and_unit() -> None:
    for template, columns in SECTIONS.items():
        for name, (kind, unit, _) in columns.items():
            assert kind, (template, name)
            assert unit, (template, name)
