"""An edit of a component makes those jobs stale whose parameters or wildcards name it, and no other.

The jobs are those of real plans; the edits are made in a copy of the package, which nothing imports.
"""

import ast
import collections
import functools
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from running import ROOT, folder_with_config

from glitchtrace.core import provenance, registry

# Small studies of each paper, beside the default one.
STUDIES = ("cleansing_smoke", "cleansing_fidelity", "cincer_smoke", "rdia_digits", "rivals_digits")
# What a component takes from the module of another: an edit of the second changes what the first does.
BORROWED = {
    ("detector", "picture_autoencoder"): ("cleansing_method", "autoencoder"),
    ("estimator", "metagradient"): ("estimator", "tracin_steps"),
    ("estimator", "tracin"): ("cleansing_method", "tracin"),
    ("learner", "logistic"): ("relabelling", "rdia"),
}
# Snakemake in a process of its own, a child for each study, which notes what every job is fingerprinted by.
RECORDING = """
import json, os, sys
from snakemake.cli import main
from glitchtrace.core import provenance
jobs = {}
def recorded(stage, parameters):
    jobs[json.dumps([stage, parameters], sort_keys=True, default=list)] = None
    return ""
provenance.job_fingerprint = recorded
command = sys.argv[1:]
for number, file in enumerate(["", *sys.stdin.read().split()]):
    if os.fork() == 0:
        sys.argv = ["snakemake", *command, *(["--configfile", file] if file else [])]
        try:
            sys.exit(main())
        finally:
            open(f"jobs-{number}.txt", "w").write("\\n".join(jobs))
    assert os.wait()[1] == 0, file
"""

Job = tuple[str, dict[str, Any]]


def planned_jobs(folder: Path) -> list[Job]:
    """Stage and parameters of every job of the studies, wildcards among them."""
    command = ["--snakefile", str(ROOT / "Snakefile"), "--cores", "1", "--dry-run", "--quiet"]
    files = "\n".join(str(ROOT / f"config/studies/{study}.yaml") for study in STUDIES)
    done = subprocess.run(
        [sys.executable, "-c", RECORDING, *command],
        cwd=folder,
        input=files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [(folder / f"jobs-{number}.txt").read_text().splitlines() for number in range(len(STUDIES) + 1)]
    return [tuple(json.loads(line)) for line in itertools.chain(*lines)]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """The jobs of the studies, and one for each component that none of them names."""
    folder = folder_with_config(tmp_path_factory.mktemp("plans"))
    found = planned_jobs(folder)
    by_names: dict[tuple[str, frozenset[tuple[str, str]]], Job] = {}
    for stage, parameters in found:
        by_names.setdefault((stage, frozenset(named(parameters))), (stage, parameters))
    stages: dict[str, list[Job]] = collections.defaultdict(list)
    for job in by_names.values():
        for kind, _ in named(job[1]):
            stages[kind].append(job)
    seen = {pair for _, pairs in by_names for pair in pairs}
    added = []
    for kind in registry.kinds():
        assert stages[kind], f"no planned job names a {kind}: add a study to STUDIES"
        for name in registry.names(kind):
            if (kind, name) not in seen:
                stage, parameters = stages[kind][0]
                others = {key: value for key, value in parameters.items() if key not in names_of(kind)}
                added.append((stage, {**others, kind: name}))
    return [*by_names.values(), *added]


def names_of(kind: str) -> set[str]:
    """The keys of parameters that name components of a kind."""
    spec = registry.kinds()[kind]
    return {kind, *spec.get("keys", ()), *([spec["table"]] if spec.get("table") else [])}


@functools.cache
def kinds_named() -> dict[str, list[str]]:
    """Key of parameters -> the kinds that it names."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for kind in registry.kinds():
        for key in names_of(kind):
            found[key].append(kind)
    return dict(found)


def named(parameters: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The components that parameters name, and what their cards say that these use."""
    found = {
        (kind, text.partition("@")[0])
        for key, text in set(pairs(parameters))
        for kind in kinds_named().get(key, ())
        if text.partition("@")[0] in registry.names(kind)
    }
    while True:
        used = {
            (kind, name)
            for pair in found
            for kind, uses in registry.card(*pair).get("uses", {}).items()
            for name in uses
        }
        if used <= found:
            return found
        found |= used


def pairs(value: Any) -> Iterator[tuple[str, str]]:
    """Every key with each text that stands directly under it: a value, one of a list, a key of a mapping."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            below = (
                [inner] if isinstance(inner, str) else list(inner) if isinstance(inner, list | dict) else []
            )
            yield from ((key, text) for text in below if isinstance(text, str))
            yield from pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pairs(inner)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that the registry reads; a module is parsed again only where its text is new."""
    root = tmp_path / "glitchtrace"
    shutil.copytree(ROOT / "src/glitchtrace", root, ignore=shutil.ignore_patterns("__pycache__"))
    provenance.clear()
    monkeypatch.setattr(registry, "PACKAGE", root)
    parse, refer = provenance._module.__wrapped__, provenance._references.__wrapped__
    parsed = functools.cache(lambda name, text: parse(name))
    referred = functools.cache(lambda name, symbol, text: refer(name, symbol))

    monkeypatch.setattr(provenance, "_module", lambda name: parsed(name, read(name)))
    monkeypatch.setattr(provenance, "_references", lambda name, symbol: referred(name, symbol, read(name)))
    monkeypatch.setattr(provenance, "_lines", Lines(provenance._lines.__wrapped__))
    monkeypatch.setattr(provenance, "fingerprint", lambda *roots: provenance._of_roots(roots))
    yield root
    monkeypatch.undo()
    read.cache_clear()
    provenance.clear()


class Lines:
    """What each root reaches; found again only for a root that reaches the module that was edited.

    What a root could not reach before an edit it cannot reach by it.
    """

    def __init__(self, reached: Callable[[str], frozenset[str]]) -> None:
        self.reached = reached
        self.unedited: dict[str, frozenset[str]] = {}
        self.modules: dict[str, set[str]] = {}
        self.edited: str | None = None
        self.now: dict[str, frozenset[str]] = {}

    def __call__(self, root: str) -> frozenset[str]:
        if root not in self.unedited:
            assert self.edited is None
            self.unedited[root] = self.reached(root)
            self.modules[root] = {line.partition(" ")[0].partition(":")[0] for line in self.unedited[root]}
        if self.edited not in self.modules[root]:
            return self.unedited[root]
        if root not in self.now:
            self.now[root] = self.reached(root)
        return self.now[root]

    def cache_clear(self) -> None:
        self.now.clear()


@functools.cache
def read(module: str) -> str:
    """The text of a module of the copy."""
    file = registry.module_file(module)
    assert file is not None, module
    return file.read_text(encoding="utf-8")


def forget(module: str) -> None:
    """Forget what follows from the text of a module that was edited."""
    provenance._lines.edited = module
    read.cache_clear()
    for cached in (provenance._texts, provenance._reached, provenance._lines, provenance._of_roots):
        cached.cache_clear()


def edited(module: str, text: str, entry: registry.Entry, foreign: set[str]) -> str:
    """The text of a component's module with an edit of its definition.

    Of a family: the member's entry in the table, and the functions and classes that only this entry names.  Of a
    module: every function and class, or a further one.  Not what other modules import: it is not this component's
    alone.
    """
    lines, tree = text.splitlines(keepends=True), ast.parse(text)
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    changes: list[ast.AST] = []
    if entry.family:
        (table,) = (
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
            if ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target) == "COMPONENTS"
        )
        members = {ast.literal_eval(key): value for key, value in zip(table.keys, table.values, strict=True)}
        member = members[entry.name]
        line = lines[member.end_lineno - 1].encode()
        end = member.end_col_offset
        lines[member.end_lineno - 1] = (line[:end] + b" or None" + line[end:]).decode()
        defined = {
            name: node
            for name, node in defined.items()
            if len(re.findall(rf"\b{name}\b", text)) == 2 and re.search(rf"\b{name}\b", ast.unparse(member))
        }
    changes += [node for name, node in defined.items() if name not in foreign]
    for node in sorted(changes, key=lambda node: -node.body[-1].end_lineno):
        indent = " " * node.body[-1].col_offset
        lines.insert(node.body[-1].end_lineno, f"{indent}edited = 1\n")
    if not entry.family and not changes:
        lines.append("\n\ndef edited():\n    pass\n")
    changed = "".join(lines)
    compile(changed, module, "exec")
    assert changed != text
    return changed


def imported_elsewhere(root: Path) -> dict[str, set[str]]:
    """Module → the names in it that other modules import or take from it, by the letters of their text."""
    texts = {file: file.read_text() for file in root.rglob("*.py")}
    found: dict[str, set[str]] = collections.defaultdict(set)
    for text in texts.values():
        for source, names in re.findall(r"from glitchtrace\.([\w.]+) import (\([^)]*\)|.*)", text):
            found[f"glitchtrace.{source}"] |= set(re.findall(r"\w+", names))
            for name in re.findall(r"\w+", names):
                found[f"glitchtrace.{source}.{name}"] |= set(re.findall(rf"\b{name}\.(\w+)", text))
    return found


def test_an_edit_of_a_component_changes_the_jobs_that_name_it_and_no_other(
    package: Path, jobs: list[Job]
) -> None:
    elsewhere = imported_elsewhere(package)
    before = [provenance.job_fingerprint(*job) for job in jobs]
    names = [named(parameters) for _, parameters in jobs]
    faults, edits = [], 0
    for kind in registry.kinds():
        for name in registry.names(kind):
            entry = registry.entry(kind, name)
            file = registry.module_file(entry.module)
            assert file is not None
            text = file.read_text()
            file.write_text(edited(entry.module, text, entry, elsewhere[entry.module]))
            forget(entry.module)
            for number, job in enumerate(jobs):
                changed = provenance.job_fingerprint(*job) != before[number]
                if changed != bool({(kind, name), BORROWED.get((kind, name))} & names[number]):
                    faults.append(f"{kind} {name}: {job[0]} {'runs' if changed else 'does not run'} again")
            edits += 1
            file.write_text(text)
            assert any((kind, name) in pair for pair in names)
    assert not faults, "\n".join(sorted(set(faults)))
    assert edits == sum(len(registry.names(kind)) for kind in registry.kinds())
