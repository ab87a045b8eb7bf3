"""What pages and docstrings point at exists: files, sections, commands."""

import ast
import importlib
import importlib.util
import inspect
import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from glitchtrace.command import main
from glitchtrace.core import resources
from glitchtrace.reporting.tables import markdown_table

ROOT = Path(__file__).parents[2]
FOLDERS = (
    ".",
    "config",
    "docs",
    "docs/methods",
    ".github",
    ".github/ISSUE_TEMPLATE",
    "src/glitchtrace/models/weights",
)
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CITED = re.compile(r"\bdocs/[\w./-]+\.md(?:#[\w-]+)?")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)


@cache
def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.*?) *$", text, re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def broken(target: str, page: Path) -> str | None:
    """What is wrong with a link of a page, None for a good one; other sites are not visited."""
    if re.match(r"[a-z]+:", target):
        return None
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists():
        return f"{page.relative_to(ROOT)}: {target} does not exist"
    if anchor and anchor not in sections(path):
        return f"{page.relative_to(ROOT)}: {target} has no such section"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    assert not [fault for target in LINK.findall(text) if (fault := broken(target, page))]


def test_every_section_that_a_docstring_cites_exists() -> None:
    cited = [(cited, file) for file in SOURCES for cited in CITED.findall(file.read_text(encoding="utf-8"))]
    assert len(cited) > 50
    assert not [f"{file}: {fault}" for target, file in cited if (fault := broken(target, ROOT / "README.md"))]


def test_nothing_cites_a_text_that_is_not_here() -> None:
    dead = re.compile(r"\bspecification\b", re.I)
    tests = [file for file in (ROOT / "tests/unit").glob("*.py") if file.name != Path(__file__).name]
    assert not [file for file in (*SOURCES, *PAGES, *tests) if dead.search(file.read_text(encoding="utf-8"))]


GUIDES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")]
GUIDES += sorted((ROOT / "docs").rglob("*.md"))
FILE = re.compile(
    r"(?<![\w./@-])((?:config|benchmarks|docs|src|tests|workflow|profiles|envs)/[\w./@-]+"
    r"\.(?:yaml|py|md|csv|smk|json|txt|lock))\b"
)
PROGRAM = re.compile(r"\bpython ((?:benchmarks|docs|tests)/[\w/]+\.py)([^#|\n`]*)")
COMMAND = re.compile(r"\bglitchtrace (audit|apply|status|plan|verify|workflow)\b([^#|\n`]*)")
OPTION = re.compile(r"(?<!\w)(--[a-z][\w-]+)")


def spans(page: Path) -> str:
    """What a page has in blocks and words of code."""
    return "\n".join(CODE.findall(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_targets_that_a_page_names_are_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z_-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    studies = {file.name for folder in ("config", "docs") for file in (ROOT / folder).rglob("*.yaml")}
    text = spans(page)
    absent = {name for name in FILE.findall(text) if not (ROOT / name).exists()}
    absent |= {f"make {name}" for name in re.findall(r"\bmake ([a-z][a-z_-]*)", text) if name not in targets}
    # moons.yaml is written by the reader of docs/extending.md.
    absent |= set(re.findall(r"`(\w+\.yaml)`", text)) - studies - {"moons.yaml"}
    assert not absent


def test_options_that_pages_name_exist(capsys: pytest.CaptureFixture[str]) -> None:
    known: dict[str, set[str]] = {}
    named = [call for page in GUIDES for call in COMMAND.findall(spans(page))]
    for command, options in named:
        if command not in known:
            with pytest.raises(SystemExit):
                main([command, "--help"])
            known[command] = set(OPTION.findall(capsys.readouterr().out))
        assert set(OPTION.findall(options)) <= known[command], f"glitchtrace {command}{options}"
    programs = [call for page in GUIDES for call in PROGRAM.findall(spans(page))]
    for program, options in programs:
        text = (ROOT / program).read_text(encoding="utf-8")
        assert not [option for option in OPTION.findall(options) if f'"{option}"' not in text], program
    assert len(named) > 4
    assert len(programs) > 10


def test_calls_of_snakemake_on_pages_and_in_studies_are_such_as_it_takes() -> None:
    """Each that runs something says on how many cores, and no target stands where a second study would."""
    texts = [spans(page) for page in GUIDES]
    texts += [file.read_text(encoding="utf-8") for file in (ROOT / "config/studies").glob("*.yaml")]
    found = [
        call.split("  ")[0].strip('`"')
        for text in texts
        for call in re.findall(r"\bsnakemake (?:-|[\w/@.-]+ --)[^`\n#]*", text.replace("\\\n ", ""))
        # What stands for any file of the reader's own is no call.
        if "…" not in call and "study.yaml" not in call
    ]
    looks = {"-n", "--unlock", "--rulegraph", "--report", "--reporter", "--snakefile", "--lint"}
    for call in found:
        words = call.split()
        assert {"--cores", "--profile", *looks} & {*words}, call
        if "--configfile" in words[:-1]:
            after = words[words.index("--configfile") + 2 :]
            assert not after or after[0].startswith("-"), f"{call}: a target goes before --configfile"
    assert len(found) > 50


def calls_of_ours(program: Path) -> Iterator[tuple[ast.Call, object]]:
    """The calls in a program whose function it imports from the package, each with that function."""
    tree = ast.parse(program.read_text(encoding="utf-8"))
    known: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "glitchtrace":
            room = importlib.import_module(node.module or "")
            for name in node.names:
                if not hasattr(room, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
                known[name.asname or name.name] = getattr(room, name.name)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in known:
                yield node, known[name]
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if inspect.ismodule(known.get(name)):
                yield node, getattr(known[name], attribute)


@pytest.mark.parametrize(
    "program",
    [file for folder in ("docs", "benchmarks") for file in sorted((ROOT / folder).glob("*.py"))],
    ids=lambda file: f"{file.parent.name}/{file.name}",
)
def test_programs_beside_the_package_call_it_as_it_is(program: Path) -> None:
    """They run for minutes or hours, so no test runs them: a changed signature would be seen by their users only."""
    for call, function in calls_of_ours(program):
        starred = any(isinstance(given, ast.Starred) for given in call.args) or None in [
            word.arg for word in call.keywords
        ]
        try:
            signature = inspect.signature(function)  # type: ignore[arg-type]
        except ValueError:  # an exception that takes what every exception takes
            continue
        given = [None for value in call.args if not isinstance(value, ast.Starred)]
        words = {word.arg: None for word in call.keywords if word.arg is not None}
        try:
            (signature.bind_partial if starred else signature.bind)(*given, **words)
        except TypeError as error:
            pytest.fail(f"{program.name}:{call.lineno}: {ast.unparse(call.func)}: {error}")


def writer(name: str) -> ModuleType:
    """The program of docs/ that writes a page."""
    spec = importlib.util.spec_from_file_location(f"{name}_page", ROOT / f"docs/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["comparison", "fidelity", "jury"])
def test_the_numbers_of_a_measured_page_are_those_of_the_committed_tables(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    measured = writer(name)
    page = (ROOT / measured.PAGE).read_text(encoding="utf-8")
    found = measured.read()
    texts = measured.sections(*(found if isinstance(found, tuple) else (found,)))
    assert len(texts) > 3
    for section, text in texts.items():
        assert text.strip() in page, f"{section}: run python docs/{name}.py"


@pytest.mark.parametrize("name", ["cincer", "cleansing", "mnist", "performance", "rdia"])
def test_the_numbers_of_a_page_are_those_of_its_committed_tables(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    page, pages = writer(name), importlib.import_module("pages")
    marked = re.findall(r"<!-- ([\w ]+): begin -->", (ROOT / page.PAGE).read_text(encoding="utf-8"))
    assert set(page.SECTIONS) == set(marked)
    for section, text in pages.texts(page.PAGE, page.SECTIONS).items():
        assert text.strip() == pages.standing(page.PAGE, section), f"{section}: run python docs/{name}.py"
    tables = {table for section in page.SECTIONS.values() for table in section.tables}
    elsewhere = {f"{name}_cost", "performance", *importlib.import_module("reproduction").ORDER}
    assert tables - set(page.TABLES) <= elsewhere, "a table that nothing makes"


def test_rows_of_an_earlier_version_stand_on_a_page_that_has_no_table_of_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    pages = importlib.import_module("pages")
    shown = {
        f"{name}_{section.replace(' ', '_')}.csv"
        for name in ("cincer", "cleansing", "mnist", "performance", "rdia")
        for section in pages.unbacked(writer(name).SECTIONS)
    }
    assert shown | {"training_length.csv"} == {file.name for file in (ROOT / pages.EARLIER).iterdir()}


@pytest.mark.parametrize(
    ("cell", "mean", "error"),
    [
        ("0.843 ± 0.018", 0.843, 0.018),
        ("1,200", 1200, math.nan),
        ("–", math.nan, math.nan),
        ("-0.5", -0.5, math.nan),
    ],
)
def test_cells_of_a_page_are_read_back(
    cell: str, mean: float, error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    pages = importlib.import_module("pages")
    assert pages.mean_of(cell) == pytest.approx(mean, nan_ok=True)
    assert pages.error_of(cell) == pytest.approx(error, nan_ok=True)
    assert pages.interval_of("+0.1 [-0.2, +0.4]") == (-0.2, 0.4)
    assert pages.apart("0.5 ± 0.3", "0.1 ± 0.4") == pytest.approx(0.8)


def test_declared_memory_is_within_a_quarter_of_the_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    running = writer("running")
    assert running.memory() in (ROOT / running.PAGE).read_text(encoding="utf-8"), "run python docs/running.py"
    table = pd.read_csv(running.TABLE)
    for row in table.to_dict("records"):
        stage, _, every = row["stage"].partition(" ")
        size = {key: row[key] for key in ("rows", "validation", "columns", "classes", "epochs")}
        now = resources.mib(stage, families=bool(every), **size)
        assert abs(now / row["peak MiB"] - 1) <= 0.25, row
    assert table[table["classes"] >= 1000]["peak MiB"].max() <= 2048
    assert len(table[table["size"] == "held out"]) >= 10


def test_no_flipped_bit_of_the_page_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    faults = writer("faults")
    assert faults.flipped() in (ROOT / faults.PAGE).read_text(encoding="utf-8"), "run python docs/faults.py"
    table = pd.read_csv(faults.FUZZ)
    assert (table["trials"] >= 1000).all()
    assert not table[["accepted", "traceback"]].to_numpy().any()


def test_the_numbers_of_the_readme_are_those_of_the_committed_table() -> None:
    demo = writer("demo")
    table = pd.read_csv(ROOT / demo.TABLE, dtype={"ratio": str}, keep_default_na=False)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    detection, repair = demo.detection(table), demo.repair(table)
    assert markdown_table(detection) in readme
    assert markdown_table(repair) in readme
    # The sentences around the tables.
    labels = detection[~detection["what is planted"].str.contains("anomalies")]
    assert (len(labels), int((labels["1 − p"] > labels["CNCI"]).sum())) == (11, 10)
    assert (len(repair), int((repair["influence"].astype(float) < 0).sum())) == (14, 4)
    assert int((repair["loss, influence"].astype(float) < 0).sum()) == 13
    record = repair[
        (repair["model"] == "linear") & (repair["what is planted"] == "wrong labels, any class, 10 %")
    ]
    assert list(record.iloc[0][["influence", "oracle"]]) == ["+1.5", "+4.7"]
    other = repair[
        (repair["model"] == "mlp")
        & (repair["data"] == "Breast cancer")
        & (repair["what is planted"] == "wrong labels, any class, 10 %")
    ]
    assert other.iloc[0]["influence"] == "-0.3"


def test_the_rules_of_the_architecture_are_there() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- rules: begin -->(.*?)<!-- rules: end -->", page, re.S)
    assert table
    rules = {
        name
        for file in (ROOT / "workflow/rules").rglob("*.smk")
        for name in re.findall(r"^rule (\w+):", file.read_text(), re.M)
    }
    named = set(re.findall(r"`(\w+)`", table[1]))
    assert len(named) > 20
    assert named <= rules, "run `make docs`"


def test_the_bad_inputs_of_the_page_are_those_of_the_table_and_without_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    audit = writer("audit")
    page = (ROOT / audit.PAGE).read_text(encoding="utf-8")
    for section, text in audit.sections().items():
        assert text.strip() in page, f"{section}: run python docs/audit.py"
    assert not pd.read_csv(ROOT / "docs/tables/audit_inputs.csv")[list(audit.OUTCOMES[2:])].to_numpy().any()
