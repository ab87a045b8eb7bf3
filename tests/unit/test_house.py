"""Registry, paths, grid, configuration, provenance, atomic files: the rooms that everything stands in."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core import complaints, configuration, files, grid, paths, provenance, reference, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors import evidence
from glitchtrace.papers.cincer import cells as cincer_cells
from glitchtrace.papers.cleansing import cells as cleansing_cells
from glitchtrace.papers.rdia import cells as rdia_cells
from glitchtrace.papers.rdia_ls import cells as rdia_ls_cells

ROOT = Path(__file__).parents[2]
SCHEMA = configuration.load_schema(ROOT)
CONFIGS = [ROOT / "config/config.yaml", *sorted((ROOT / "config/studies").glob("*.yaml"))]


def load(file: Path) -> dict:
    """A whole configuration: the shipped variants and the default, then the study."""
    base = configuration.merge(configuration.variants(ROOT), configuration.read(CONFIGS[0]))
    return base if file == CONFIGS[0] else configuration.merge(base, yaml.safe_load(file.read_text()))


def resolved(**changes: object) -> dict:
    return configuration.resolve({**load(CONFIGS[0]), **changes}, SCHEMA)


# --- registry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", registry.kinds())
def test_every_component_has_a_card_with_a_summary_and_documented_settings(kind: str) -> None:
    assert registry.names(kind)
    for name in registry.names(kind):
        card = registry.card(kind, name)
        assert card["summary"].strip()
        for key, fragment in card.get("settings", {}).items():
            assert fragment["description"].strip(), (name, key)
            assert "default" in fragment or "properties" in fragment, (name, key)
        assert registry.load(kind, name) is not None
        complaints.check_card(registry.entry(kind, name))


def test_cards_may_name_every_piece_of_evidence_and_no_other() -> None:
    needs = registry.kinds()["detector"]["card"]["needs"]["items"]["enum"]
    assert sorted(needs) == sorted(evidence.NEEDS)


# The components of docs/extending.md, changed: file, what stands there, what stands there instead, what is said.
EXAMPLES = dict(
    re.findall(
        r"^`my/(\w+\.py)`\n\n```python\n(.*?)^```", (ROOT / "docs/extending.md").read_text(), re.M | re.S
    )
)
BROKEN = [
    ("moons.py", 'KIND = "dataset"\n', "", r"moons\.py: CARD without KIND"),
    ("moons.py", 'KIND = "dataset"', 'KIND = "dataste"', r"moons\.py: KIND 'dataste' is unknown"),
    ("moons.py", 'KIND = "dataset"', 'KIND="dataste"', r"moons\.py: KIND 'dataste' is unknown"),
    ("moons.py", "def load(", "def load((", r"moons\.py:\d+: no Python \("),
    ("moons.py", '"classes": 2', '"classes": 1 + len("a")', r"moons\.py:10: CARD is read without running"),
    ("moons.py", '"summary": ', '"sumary": ', r"CARD: (unknown key 'sumary'|the key 'summary' is missing)"),
    ("moons.py", '"rows": {"all": 400},', "", r"CARD: the key 'rows' is missing"),
    ("moons.py", '"rows": {"all": 400}', '"rows": 400', r"CARD\.rows: 400 should be of type object"),
    ("moons.py", '"rows": {"all": 400}', '"rows": {}', "its card counts no rows"),
    ("moons.py", '"classes": 2', '"classes": "two"', r"CARD\.classes: 'two' should be of type integer"),
    ("moons.py", '"classes": 2,', '"classes": 2, "colour": "red",', r"CARD: unknown key 'colour'"),
    ("moons.py", '"modality": "table"', '"modality": "tabel"', r"CARD\.modality: unknown value 'tabel'"),
    ("moons.py", '"files": ["moons.csv"]', '"files": ["moon.csv"]', r"moons\.py\): its card names moon\.csv"),
    ("moons.py", '"summary"', '"name": "klasse-é", "summary"', "'klasse-é' cannot name a dataset"),
    ("moons.py", '"summary"', '"name": "sources", "summary"', "a folder of the results is named 'sources'"),
    ("collapse.py", "CARD = {", "CRAD = {", r"collapse\.py: KIND needs one of CARD and CARDS"),
    ("collapse.py", '"default": 0,', "", r"collapse\.py: CARD\.settings\.target: "),
    (
        "collapse.py",
        '"default": 0,',
        '"default": "0",',
        r"CARD\.settings\.target\.default: '0' should be of type int",
    ),
    ("collapse.py", '"integer"', '"intger"', r"CARD\.settings\.target: 'intger' is no JSON schema \(type\)"),
    ("random_features.py", '"view": "vector"', '"view": "vectors"', r"CARD\.view: unknown value 'vectors'"),
    (
        "random_features.py",
        '"settings"',
        '"shares": "frozn", "settings"',
        r"random_features\.py: CARD\.shares: ",
    ),
    ("random_features.py", '"settings"', '"defaults": {"x": 1}, "settings"', "there is no setting 'x'"),
    (
        "collapse.py",
        '"default": 0,',
        '"default": 0, "only_with": {"x": [1]},',
        "only_with: there is no setting 'x'",
    ),
    (
        "collapse.py",
        '"default": 0,',
        '"default": 0, "only_with": {"target": 1},',
        r"only_with\.target: 1 should be",
    ),
    ("other_classes.py", '["profile"]', '["profiles"]', r"CARD\.needs\[0\]: unknown value 'profiles'"),
    ("other_classes.py", '"finds": "label"', '"finds": "labels"', r"CARD\.finds: unknown value 'labels'"),
]


@pytest.mark.parametrize(("file", "before", "after", "message"), [("moons.py", "", "", None), *BROKEN])
def test_a_card_is_checked_before_any_job(
    file: str, before: str, after: str, message: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(registry.ENVIRONMENT, "")
    for name, text in EXAMPLES.items():
        assert name != file or before in text
        (tmp_path / name).write_text(text.replace(before, after) if name == file and before else text)
    (tmp_path / "moons.csv").touch()
    axes = {"datasets": ["moons"], "models": ["random_features"], "glitches": ["collapse"]}
    default = configuration.read(CONFIGS[0])
    study = {"components": [str(tmp_path)], "grid": [{**BLOCK, **axes}]}

    def whole() -> int:
        complete = configuration.complete(configuration.merge(default, study), default, ROOT)
        return len(grid.with_small_matrices(as_grid(complete), complete["settings"], 10**9))

    if message is None:
        assert whole() == 1
    else:
        with pytest.raises(GlitchtraceError, match=message) as caught:
            whole()
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)


def as_grid(complete: dict) -> grid.Grid:
    return grid.Grid(cell.wildcards() for cell in grid.cells(complete["grid"], complete["settings"]))


@pytest.mark.parametrize(
    ("file", "before", "after", "kind", "message"),
    [
        ("moons.py", "def load(", "def laod(", "dataset", r"moons\.py\): there is no function load; add it"),
        ("collapse.py", "def inject(", "def injekt(", "glitch", "there is no function inject"),
        ("other_classes.py", "CARD = {", 'CARDS = {"other": {', "detector", "COMPONENTS has no 'other'"),
    ],
)
def test_a_component_without_its_function_is_named_with_its_file(
    file: str,
    before: str,
    after: str,
    kind: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(registry.ENVIRONMENT, "")
    text = EXAMPLES[file].replace(before, after)
    (tmp_path / file).write_text(text.replace("\n}\n", "\n}}\n", 1) if "CARDS" in after else text)
    registry.add([str(tmp_path)])
    with pytest.raises(GlitchtraceError, match=message):
        registry.load(kind, "other" if "CARDS" in after else file.removesuffix(".py"))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(GlitchtraceError, match=r"unknown model 'resnet21'; known: .*resnet20"):
        registry.card("model", "resnet21")


def test_a_variant_has_the_card_of_its_base_name() -> None:
    assert registry.card("dataset", "mnist@tenth") == registry.card("dataset", "mnist")


def test_parsing_the_workflow_imports_nothing_heavy() -> None:
    code = (
        "import sys; from glitchtrace.core import configuration, grid, paths, provenance, registry;"
        "from glitchtrace.papers.rdia import cells; from glitchtrace.papers.rdia_ls import cells;"
        "[registry.card(k, n) for k in registry.kinds() for n in registry.names(k)];"
        "print([m for m in ('torch', 'pandas', 'numpy', 'sklearn', 'pyarrow') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


# --- paths ------------------------------------------------------------------------------------------------------

TEMPLATES = {name: value for name, value in vars(paths).items() if isinstance(value, str) and "{" in value}
VALUES = {
    "source": "mnist",
    "backbone": "timm-0123456789ab",
    "dataset": "mnist@tenth",
    "model": "resnet20@akamaster",
    "glitch": "mixture@mu_ua",
    "ratio": "native",
    "seed": 12,
    "estimator": "tracin",
    "learner": "logistic",
    "relabelling": "rdia@alpha_0_002",
    "selection": "rdia_ls@mnist",
    "protocol": "sgd@h19",
    "retrained": "last",
    "task": "mnist_1_7",
    "network": "dnn",
    "loop": "interactive@published",
    "noise": "random",
    "inspector": "margin",
    "threshold": "0.2",
    "negotiator": "top_fisher",
    "repeat": 3,
    "refit": "optimum",
    "annotation": "cifar10n",
}


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_is_filled_and_lies_in_the_results_folder(name: str) -> None:
    wildcards = {key: value for key, value in VALUES.items() if f"{{{key}}}" in TEMPLATES[name]}
    assert paths.fill(TEMPLATES[name], **wildcards).startswith("results/")


def test_no_two_templates_claim_one_file() -> None:
    filled = [
        paths.fill(value, **{k: v for k, v in VALUES.items() if f"{{{k}}}" in value})
        for value in TEMPLATES.values()
        if "." in value.rpartition("/")[2]
    ]
    assert len(set(filled)) == len(filled)


@pytest.mark.parametrize("name", ["..", "../../etc", "a/b", "", "Mnist", "mnist@", "mnist-2", "a b"])
def test_a_name_that_could_leave_the_results_folder_is_refused(name: str) -> None:
    with pytest.raises(GlitchtraceError, match="is not a legal name"):
        paths.fill(paths.SPLIT, dataset=name, seed=0)


def test_a_study_has_summaries_of_its_own_and_shares_the_cells() -> None:
    assert paths.fill(paths.SUMMARY) == "results/summary.parquet"
    assert paths.fill(paths.SUMMARY, study="mine") == "results/studies/mine/summary.parquet"
    assert paths.fill(paths.SPLIT, dataset="iris", seed=1) == paths.fill(
        paths.SPLIT, study="mine", dataset="iris", seed=1
    )


def test_no_dataset_has_the_name_of_a_reserved_folder() -> None:
    assert not set(registry.names("dataset")) & set(paths.RESERVED)


def test_every_glitch_of_labels_alone_is_one_of_wrong_labels() -> None:
    cards = {name: registry.card("glitch", name) for name in registry.names("glitch")}
    assert {
        name for name, card in cards.items() if card.get("labels_only") and not card.get("label_repair")
    } == {"none"}


# --- configuration and grid -----------------------------------------------------------------------------------------


def test_every_parameter_has_a_meaning_and_the_page_says_nothing_else() -> None:
    assert all(text for _, _, _, text in reference.parameters(SCHEMA))
    page = (ROOT / "config/README.md").read_text()
    written = page.partition("<!-- parameters: begin -->\n")[2].partition("\n<!-- parameters: end -->")[0]
    shipped = reference.tables(SCHEMA).splitlines()
    # A row of the page that no card says is out of date; a new component needs no new page.
    stale = [line for line in written.splitlines() if line.startswith("|") and line not in shipped]
    assert not stale, "run `make docs`"
    assert len(written.splitlines()) > 200


def test_the_reference_is_short() -> None:
    assert len((ROOT / "config/README.md").read_text().split()) <= 4000


def option_rows(system: str) -> list[list[str]]:
    """Cells of the table of a system's original options on its page: option, key, default."""
    text = (ROOT / f"docs/{system.lower()}.md").read_text().partition(f"## Options of {system}\n")[2]
    lines = text.partition("\n## ")[0].splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")
    ][1:]


def option_keys(cell: str) -> list[str]:
    """Keys that a cell names: `a.b`, and `.c` for another one beside it; `<name>` stands for every name."""
    found: list[str] = []
    for word in re.findall(r"`([^`]+)`", cell):
        key = word.partition(":")[0]
        if key.startswith("."):
            found.append(found[-1].rpartition(".")[0] + key)
        elif re.match(r"(cincer\[\]|loops|negotiators|inspectors|figures)\.", key):
            found.append(key)
    return found


def test_options_of_cincer_name_keys_of_the_schema_with_their_defaults() -> None:
    defaults = {key: default.strip("`") for key, _, default, _ in reference.parameters(SCHEMA)}
    checked = 0
    for option, keys, default in option_rows("CINCER"):
        named = option_keys(keys)
        for key in named:
            pattern = re.escape(key).replace("<name>", "[a-z_]+")
            assert any(re.fullmatch(pattern, known) for known in defaults), (option, key)
        if not named or not keys.startswith("`") or default.startswith("all "):
            continue
        # Remarks stand in brackets or after a semicolon; several settings have their defaults in turn.
        values = [value.strip("` ") for value in re.split(r" \(|;", default)[0].split(", ")]
        settings = list(dict.fromkeys(key.rpartition(".")[2] for key in named))
        for key in named:
            if "<" in key:
                continue
            place = settings.index(key.rpartition(".")[2]) if len(values) > 1 else 0
            shown, real = values[place], defaults[key]
            if shown == "required":
                assert real == "", (option, key)
            else:
                assert yaml.safe_load(shown) == yaml.safe_load(real), (option, key)
            checked += 1
    assert checked > 20


def test_options_of_cincer_map_names_that_exist() -> None:
    text = (ROOT / "docs/cincer.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("Names that differ: ")]
    pairs = dict(re.findall(r"`([^`]+)` → `([^`]+)`", line))
    assert set(pairs) == {"20ng", "breast", "fashion_mnist", "nearest-if"}
    for published, ours in pairs.items():
        kind = "negotiator" if published == "nearest-if" else "dataset"
        assert published not in registry.names(kind)
        registry.card(kind, ours)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_shipped_configuration_is_legal_and_shares_its_settings(file: Path) -> None:
    config = load(file)
    configuration.check(config, SCHEMA)
    configuration.check_study(config, load(CONFIGS[0]))
    complete = configuration.resolve(config, SCHEMA)
    systems = ((grid, "grid"), (rdia_cells, "rdia"), (rdia_ls_cells, "rdia_ls"), (cincer_cells, "cincer"))
    found = [system.cells(complete[blocks], complete["settings"]) for system, blocks in systems]
    found.append(cleansing_cells.cells(complete["cleansing"], complete["settings"]))
    found.append(cincer_cells.influence_cells(complete["cincer_influence"], complete["settings"]))
    assert any(found) or cleansing_cells.fidelity_cells(complete["fidelity"])


def test_two_shipped_studies_never_give_one_variant_two_settings() -> None:
    seen: dict = {}
    for file in CONFIGS:
        config = load(file)
        for table in registry.tables():
            for name, value in (config.get(table) or {}).items():
                assert seen.setdefault((table, name), value) == value, (file.stem, name)


BLOCK = {"datasets": ["digits"], "models": ["linear"], "glitches": ["uniform"], "ratios": [0.1], "seeds": [0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gird": []}, "unknown key 'gird'; did you mean 'grid'"),
        ({"grid": []}, "nothing to do: add a block to grid"),
        ({"grid": [{**BLOCK, "datasets": ["digit"]}]}, "unknown dataset 'digit'"),
        ({"grid": [{**BLOCK, "models": ["resnet21"]}]}, "unknown model 'resnet21'"),
        ({"grid": [{**BLOCK, "glitches": ["unifrom"]}]}, "unknown glitch 'unifrom'"),
        ({"grid": [{**BLOCK, "estimators": ["trakin"]}]}, "unknown estimator 'trakin'"),
        ({"grid": [{**BLOCK, "datasets": ["../../etc"]}]}, r"datasets: '\.\./\.\./etc' is not a legal name"),
        ({"grid": [{**BLOCK, "models": ["linear@a/b"]}]}, "models: 'linear@a/b' is not a legal name"),
        ({"grid": [{**BLOCK, "ratios": [1.5]}]}, r"ratios: 1\.5 is not a ratio"),
        ({"grid": [{**BLOCK, "ratios": [0]}]}, "ratios: 0 is not a ratio"),
        ({"grid": [{**BLOCK, "ratios": [1]}]}, "ratios: 1 is not a ratio"),
        ({"grid": [{**BLOCK, "ratios": ["0.10", 0.1]}]}, r"ratios: 0\.10 and 0\.1 are the same ratio"),
        ({"grid": [BLOCK, {**BLOCK, "ratios": ["0.100"]}]}, r"ratios: 0\.1 and 0\.100 are the same ratio"),
        ({"grid": [{**BLOCK, "ratios": [0.10, 0.1]}]}, r"grid\[0\]\.ratios: 0\.1 is given twice"),
        ({"grid": [{**BLOCK, "seeds": [-1]}]}, r"grid\[0\]\.seeds\[0\]"),
        ({"grid": [{**BLOCK, "seeds": ["a"]}]}, r"grid\[0\]\.seeds\[0\]: 'a' should be of type integer"),
        (
            {"grid": [{k: v for k, v in BLOCK.items() if k != "seeds"}]},
            r"grid\[0\]: the key 'seeds' is missing",
        ),
        ({"detectors": ["SI", "CNCY"]}, "detectors: unknown detector 'CNCY'"),
        ({"models": {"linear": {"learning_rte": 1}}}, "models.linear: unknown key 'learning_rte'"),
        ({"models": {"linaer": {}}}, "models: unknown key 'linaer'; did you mean 'linear'"),
        ({"datasets": {"mnist@x": {"subset_ratio": 2}}}, "datasets.mnist@x.subset_ratio"),
        ({"device": "tpu"}, "device: unknown value 'tpu'"),
        ({"evaluation_batch": "many"}, "evaluation_batch: 'many' should be of type integer"),
        ({"repair": "false"}, "repair: 'false' should be of type boolean; write it into a file"),
    ],
)
def test_a_wrong_configuration_is_one_line_that_names_the_key(changes: dict, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message) as caught:
        configuration.check({**load(CONFIGS[0]), **changes}, SCHEMA)
    assert "\n" not in str(caught.value)


LONG = {"training": {"default": {"epochs": 31}}}
VARIANTS = {
    "estimators": {"tracin@late": {"epochs": [2, 31]}, "ekfac@head": {"layers": "head"}},
    "glitches": {
        "class_dependent@two": {"transition_matrix": [[0, 1], [1, 0]]},
        "mixture@five": {"steps": [{"glitch": "class_dependent", "ratio": 0.1, "classes_to_contaminate": 5}]},
    },
    "datasets": {"digits@large": {"subset_size": 1439}, "digits@few": {"test_size": 9}},
}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"datasets": ["breast_cancer"], "glitches": ["far_anomalies"]}, "far_anomalies takes image data"),
        ({"datasets": ["wine"], "models": ["resnet20"]}, "resnet20 takes image data"),
        ({"datasets": ["photo_patches"]}, "only serves as a source of foreign samples"),
        ({"glitches": ["mixture@mu_ua"]}, r"ratios: \[native\]"),
        ({"glitches": ["none"]}, r"ratios: \[clean\]"),
        ({"ratios": ["native"]}, "needs a ratio such as 0.1"),
        ({"glitches": ["mixture"], "ratios": ["native"]}, "mixture has no steps"),
        ({"glitches": ["uniform@mine"]}, "uniform@mine is a variant without settings"),
        (
            {"datasets": ["wine"], "glitches": ["mixture@mu_ua"], "ratios": ["native"]},
            "takes image data",
        ),
        (
            {"estimators": ["tracin@late"]},
            r"grid\[0\]: estimator tracin@late counts epoch 31, but linear is trained for 30 on digits; set .* 1 to 30",
        ),
        (
            {"models": ["small_cnn"], "estimators": ["ekfac"]},
            r"ekfac covers .* layers: head, or choose another",
        ),
        ({"models": ["mlp"], "estimators": ["tracin_steps"]}, "and mlp trains dense layers; choose another"),
        (
            {"glitches": ["class_dependent@two"]},
            r"class_dependent@two\.transition_matrix: digits has 10 classes; write 10 rows of 10 numbers",
        ),
        (
            {"datasets": ["wine"], "glitches": ["mixture@five"], "ratios": ["native"]},
            r"mixture@five\.steps\.classes_to_contaminate: 5 is above the 3 classes of wine; write 'all' or fewer",
        ),
        (
            {"datasets": ["digits@large"]},
            r"^datasets\.digits@large\.subset_size: 1439 is above the 1438 rows",
        ),
        (
            {"datasets": ["digits@few"]},
            r"test_size: divides 1797 rows into 9 and 1788; both need 10 at least, one",
        ),
    ],
)
def test_an_illegal_combination_is_refused_with_a_remedy(block: dict, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        complete = resolved(
            **configuration.merge(load(CONFIGS[0]), {**VARIANTS, "grid": [{**BLOCK, **block}]})
        )
        grid.cells(complete["grid"], complete["settings"])


@pytest.mark.parametrize(
    "block",
    [
        {"models": ["small_cnn", "resnet20"], "estimators": ["ekfac@head", "tracin@late"]},
        {"models": ["resnet20@head"], "estimators": ["ekfac", "tracin_steps"]},
        {"datasets": ["wine"], "glitches": ["class_dependent@two"], "estimators": ["influence_functions"]},
    ],
)
def test_what_fits_the_training_and_the_classes_is_legal(block: dict) -> None:
    fitting = {
        "models": {"small_cnn": LONG, "resnet20": LONG, "resnet20@head": {"trainable_layers": []}},
        "glitches": {"class_dependent@two": {"transition_matrix": [[0, 1, 0], [0, 0, 1], [1, 0, 0]]}},
    }
    changes = configuration.merge({**VARIANTS, "grid": [{**BLOCK, **block}]}, fitting)
    complete = resolved(**configuration.merge(load(CONFIGS[0]), changes))
    assert grid.cells(complete["grid"], complete["settings"])


@pytest.mark.parametrize("source", ["test_split", "none"])
def test_a_dataset_without_a_test_part_is_not_split_by_one(source: str) -> None:
    complete = resolved(
        grid=[{**BLOCK, "datasets": ["digits@t"]}], datasets={"digits@t": {"validation_source": source}}
    )
    with pytest.raises(
        GlitchtraceError, match=rf"{source} needs an official test part, which digits@t has not"
    ):
        grid.cells(complete["grid"], complete["settings"])


def test_a_block_is_the_product_of_its_axes_and_cells_are_shared_between_blocks() -> None:
    complete = resolved(grid=[{**BLOCK, "seeds": [0, 1], "models": ["linear", "mlp"]}, BLOCK])
    assert len(grid.cells(complete["grid"], complete["settings"])) == 4


def test_a_variant_inherits_from_its_base_name() -> None:
    complete = resolved(
        grid=[{**BLOCK, "models": ["resnet20@akamaster"]}],
    )
    model = complete["settings"]["model"]["resnet20@akamaster"]
    assert model["weights"] == "akamaster"
    assert grid.training_settings(model, "mnist@tenth") == {
        "learning_rate": 0.1,
        "batch_size": 128,
        "epochs": 7,
    }
    assert grid.training_settings(model, "cifar10")["learning_rate"] == 0.01


def test_a_study_may_add_a_variant_but_not_change_what_others_share() -> None:
    base = load(CONFIGS[0])
    configuration.check_study(configuration.merge(base, {"models": {"linear@mine": {}}}), base)
    for change in (
        {"models": {"linear": {"training": {"default": {"epochs": 2}}}}},
        {"datasets": {"iris": {"test_ratio": 0.5}}},
        {"datasets": {"mnist@tenth": {"subset_ratio": 0.2}}},
    ):
        with pytest.raises(GlitchtraceError, match="name a variant"):
            configuration.check_study(configuration.merge(base, change), base)


@pytest.mark.parametrize(("key", "value"), [("device", "cuda"), ("evaluation_batch", 7)])
def test_a_study_may_not_change_a_key_that_all_studies_share(key: str, value: object) -> None:
    assert key in configuration.SHARED_KEYS
    base = load(CONFIGS[0])
    for shared, study in ((base, {**base, key: value}), ({**base, key: value}, base)):
        with pytest.raises(GlitchtraceError, match=f"^{key}: all studies share it"):
            configuration.check_study(study, shared)
    configuration.check_study({**base, key: value}, {**base, key: value})


def test_a_study_file_names_its_study() -> None:
    assert configuration.study_name("somewhere/my_study.yaml") == "my_study"
    with pytest.raises(GlitchtraceError, match="cannot name a study"):
        configuration.study_name("My Study.yaml")


def test_sizes_are_known_before_the_data_are_read() -> None:
    complete = resolved(grid=[{**BLOCK, "datasets": ["mnist@tenth", "digits"]}])
    assert grid.sizes("mnist@tenth", complete["settings"]["dataset"]["mnist@tenth"]) == (6000, 1000)
    assert grid.sizes("digits", complete["settings"]["dataset"]["digits"]) == (1151, 287)
    assert grid.sizes(
        "mnist",
        configuration.resolve({**load(CONFIGS[0]), "grid": [{**BLOCK, "datasets": ["mnist"]}]}, SCHEMA)[
            "settings"
        ]["dataset"]["mnist"],
    ) == (60000, 5000)


KEYS = ("dataset", "model", "glitch", "ratio", "seed", "estimator")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["iris", "wine"]),
            st.just("linear"),
            st.sampled_from(["none", "uniform"]),
            st.sampled_from(["clean", "0.1", "0.2"]),
            st.sampled_from(["0", "1"]),
            st.sampled_from(["tracin", "tracin@last"]),
        ),
        unique=True,
    )
)
@settings(deadline=None, derandomize=True, max_examples=30)
def test_the_grid_answers_as_a_search_through_all_cells_does(cells: list[tuple[str, ...]]) -> None:
    every = [dict(zip(KEYS, cell, strict=True)) for cell in cells]
    found = grid.Grid(every)
    assert found.rows() == every
    assert len(found) == len(every)
    for keys in ({"dataset": "iris"}, {"seed": 0, "glitch": "uniform"}, {"dataset": "no such set"}):
        wanted = [row for row in every if all(row[key] == str(value) for key, value in keys.items())]
        assert found.rows(**keys) == wanted
    assert found.glitched() == [row for row in every if row["ratio"] != "clean"]
    assert len(found.trainings()) == len({cell[:-1] for cell in cells})
    sets = grid.glitched_sets(found)
    assert {(*pair, ratio) for pair, ratios in sets.items() for ratio in ratios} == {
        (cell[0], *cell[2:4]) for cell in cells if cell[3] != "clean"
    }


# --- provenance -------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package of the same name, so that its files may be edited."""
    root = tmp_path / "glitchtrace"
    (root / "inner").mkdir(parents=True)
    (root / "inner/__init__.py").write_text("")
    (root / "a.py").write_text('"""Doc."""\n\ndef f():\n    from glitchtrace.inner import b\n    return b\n')
    (root / "inner/b.py").write_text("x = 1\n")
    (root / "c.py").write_text("y = 1\n")
    monkeypatch.setattr(registry, "PACKAGE", root)
    provenance.clear()
    return root


def fresh_fingerprint() -> str:
    provenance.clear()
    return provenance.fingerprint("glitchtrace.a")


@pytest.fixture(autouse=True)
def _clear_caches_afterwards():
    yield
    provenance.clear()


@pytest.fixture
def notes(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where fingerprints of the package are kept."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return package / "__pycache__"


def test_fingerprints_of_the_same_sources_are_found_once(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fresh_fingerprint()
    (kept,) = notes.glob("fingerprints-*.txt")
    assert kept.read_text() == f"{found} glitchtrace.a\n"
    provenance.clear()
    monkeypatch.delattr(provenance, "_module")  # no source is parsed again
    assert provenance.fingerprint("glitchtrace.a") == found


def test_what_another_process_has_found_meanwhile_is_taken(notes: Path) -> None:
    found = fresh_fingerprint()
    (kept,) = notes.glob("fingerprints-*.txt")
    with kept.open("a") as stream:
        stream.write(
            "0123456789abcdef glitchtrace.c\nfedcba9876543210 glitchtrace.c and a line that is cut of"
        )
    assert provenance.known() == {"glitchtrace.a": found}
    assert provenance.fingerprint("glitchtrace.c") == "0123456789abcdef"
    assert set(provenance.known()) == {"glitchtrace.a", "glitchtrace.c"}


def test_an_edit_while_a_process_runs_is_not_noted_of_what_was_there(notes: Path, package: Path) -> None:
    expected = fresh_fingerprint()
    shutil.rmtree(notes)
    provenance.clear()
    assert provenance.known() == {}
    before = (package / "inner/b.py").read_text()
    (package / "inner/b.py").write_text("x = 2\n")
    assert provenance.fingerprint("glitchtrace.a") == expected
    changed = fresh_fingerprint()
    assert changed != expected
    (package / "inner/b.py").write_text(before)
    assert fresh_fingerprint() == expected


def test_fingerprints_of_few_states_are_kept(notes: Path, package: Path) -> None:
    found = set()
    for state in range(9):
        (package / "inner/b.py").write_text(f"x = {state}\n")
        found.add(fresh_fingerprint())
    assert len(found) == 9
    assert len(list(notes.iterdir())) == 5


def test_fingerprints_are_kept_like_bytecode(
    notes: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fresh_fingerprint()
    shutil.rmtree(notes)
    notes.write_text("a file where the folder should be")
    assert fresh_fingerprint() == expected
    notes.unlink()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert fresh_fingerprint() == expected
    assert not notes.exists()


def test_a_comment_or_docstring_leaves_the_fingerprint_and_an_edit_changes_it(package: Path) -> None:
    before = fresh_fingerprint()
    (package / "a.py").write_text(
        '"""Other."""\n# why\ndef f():\n    """New."""\n    from glitchtrace.inner import b\n\n    return b\n'
    )
    assert fresh_fingerprint() == before
    (package / "inner/b.py").write_text("x = 2\n")
    assert fresh_fingerprint() != before


def test_an_edit_of_a_module_that_is_not_imported_leaves_the_fingerprint(package: Path) -> None:
    before = fresh_fingerprint()
    (package / "c.py").write_text("y = 2\n")
    assert fresh_fingerprint() == before


# --- profiles ---------------------------------------------------------------------------------------------------


def test_the_profile_of_short_cells_groups_every_rule_of_the_grid() -> None:
    profile = yaml.safe_load((ROOT / "profiles/slurm_short/profile.yaml").read_text())
    grouped = {entry.partition("=")[0] for entry in profile["groups"]}
    names = {
        file.stem: set(re.findall(r"^rule (\w+):", file.read_text(), re.M))
        for file in (ROOT / "workflow/rules").rglob("*.smk")
    }
    rooms = ("detection", "evaluation", "influence", "repair", "report", "glitches")
    wanted = set().union(*(names[room] for room in rooms)) - {"comparison", "truth"}  # targets, no jobs
    assert wanted <= grouped
    assert grouped <= set().union(*names.values())


# --- files ------------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "table.json"
    files.write_json({"old": 1}, target)
    with pytest.raises(RuntimeError, match="power cut"), files.replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("power cut")
    assert json.loads(target.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [target]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_arrays_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, values: list[int]) -> None:
    folder = tmp_path_factory.mktemp("npy")
    files.write_npy(np.array(values), folder / "x.npy")
    np.testing.assert_array_equal(np.load(folder / "x.npy", mmap_mode="r"), values)
