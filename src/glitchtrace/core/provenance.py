"""What a result was made from: code fingerprints and package versions.

Snakemake sees changes of rules, parameters and inputs, but not of the imported library.  Each job therefore has a
fingerprint among its parameters: the hash of all code of ours that its stage function and the components that its
parameters name can reach, definition by definition.  A comment, a docstring or an edit elsewhere in a module changes
nothing; a real edit re-runs the jobs that use it and what follows.  Dates of files decide nothing.
"""

import ast
import hashlib
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from glitchtrace.core import files, registry

_PACKAGES = (
    "glitchtrace",
    "numpy",
    "torch",
    "torchvision",
    "timm",
    "captum",
    "scikit-learn",
    "pandas",
    "pyarrow",
)
# What a card says for readers; its settings reach a job as parameters.
_UNREAD = ("summary", "shown_by", "settings", "defaults", "shares", "citation", "licence", "source")
_DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# A fingerprint and its roots, and of how many states of the sources they are kept.
_LINE, _KEPT = re.compile(r"^([0-9a-f]{16}) (.+)\n", re.MULTILINE), 4
_STATEMENT = (ast.stmt, ast.excepthandler, ast.match_case)


def job_fingerprint(stage: str, parameters: Mapping[str, Any]) -> str:
    """The fingerprint of a job: of its stage (``module:function``) and of the components its parameters name.

    ``parameters``: the job's parameters with their wildcards filled in; see ``registry.named_in``.
    """
    return fingerprint(stage, *(f"{kind}={name}" for kind, name in registry.named_in(parameters)))


def fingerprint(*roots: str) -> str:
    """Hash of the code that ``roots`` can reach, 16 hexadecimal digits.

    A root is a module, a definition in it (``module:name``) or a component (``kind=name``).  Parsing the sources takes
    a second, so what was found of them is kept beside their bytecode, until one of them has another content.
    """
    kept, key = known(), " ".join(roots)
    if key not in kept:
        kept.update(_read())  # another process may have found it meanwhile
    if key not in kept:
        kept[key] = _of_roots(roots)
        _note(key, kept[key])
    return kept[key]


@cache
def known() -> dict[str, str]:
    """Roots → their fingerprint, as processes before this one have found them of the same sources."""
    return _read()


def _read() -> dict[str, str]:
    with suppress(OSError):
        return {key: found for found, key in _LINE.findall(_notes().read_text(encoding="utf-8"))}
    return {}


def _note(roots: str, found: str) -> None:
    """Add a line to what is known; a package that lies where nobody may write is parsed by every process."""
    if sys.dont_write_bytecode:
        return
    notes = _notes()
    with suppress(OSError):
        if not notes.exists():
            notes.parent.mkdir(exist_ok=True)
            others = sorted(notes.parent.glob("fingerprints-*"), key=lambda file: file.stat().st_mtime)
            for file in others[:-_KEPT]:
                file.unlink(missing_ok=True)
        with notes.open("a", encoding="utf-8") as stream:
            stream.write(f"{found} {roots}\n")


def _notes() -> Path:
    """The file of what is known of the sources as they are, read by this version of Python."""
    return Path(cache_from_source(registry.PACKAGE / f"fingerprints-{_sources()}.py")).with_suffix(".txt")


@cache
def _texts() -> dict[str, bytes]:
    """Module → source, of the package and of the user's components; read once, so that what is noted is of these."""
    return {module: file.read_bytes() for module, file in registry.source_files()}


@cache
def _sources() -> str:
    """Hash of all sources."""
    digest = hashlib.sha256()
    for module, text in _texts().items():
        digest.update(f"{module} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:16]


@cache
def _of_roots(roots: tuple[str, ...]) -> str:
    lines: set[str] = set()
    for root in roots:
        lines |= _lines(root)
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()[:16]


@cache
def _lines(root: str) -> frozenset[str]:
    """What a root can reach, a line per definition: where it stands and the hash of its syntax tree."""
    kind, found, name = root.partition("=")
    if not found:
        module, _, symbol = root.partition(":")
        return _reached(module, symbol or "*")
    entry = registry.entry(kind, name)
    read = {key: value for key, value in sorted(entry.card.items()) if key not in _UNREAD}
    reached = _reached(entry.module, f"COMPONENTS[{entry.name}]" if entry.family else "*")
    return reached | {f"{kind}={entry.name} {read!r}"}


def own_files(kind: str, name: str, path: str | None = None) -> dict[str, str]:
    """File → CRC-32 of a user's files that a component reads: what its card names under ``files``.

    They are patterns below the folder of the component's module or below the data folder (GLITCHTRACE_DATA).
    ``path``: a file or folder that its settings name.  A file that is missing is left out: the job that reads it says
    so.
    """
    if path is not None:
        return {path: files.content(path)} if Path(path).exists() else {}
    return {
        str(file.relative_to(folder)): files.crc32(file) for folder, _, file in registry.raw_files(kind, name)
    }


@cache
def versions() -> dict[str, str]:
    """Installed versions of the packages whose numbers enter results."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def clear() -> None:
    """Forget what was read of source files: for tests that edit some."""
    for cached in (_module, _references, _reached, _lines, _of_roots, _texts, _sources, known):
        cached.cache_clear()
    registry._scan.cache_clear()


# --- one module ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Module:
    """The top level of a module: its definitions by name, what it imports of ours, and what always runs."""

    name: str
    definitions: Mapping[str, tuple[ast.stmt | ast.expr, ...]]
    imports: Mapping[str, tuple[str, str | None]]
    always: tuple[ast.stmt, ...]
    hashes: dict[str, str] = field(default_factory=dict)

    def nodes(self, symbol: str) -> tuple[ast.stmt | ast.expr, ...]:
        """The syntax trees of a symbol; "" stands for what runs at every import."""
        return self.always if symbol == "" else self.definitions[symbol]

    def hash_of(self, symbol: str) -> str:
        """Hash of the trees of a symbol."""
        if symbol not in self.hashes:
            text = "\n".join(ast.dump(node) for node in self.nodes(symbol))
            self.hashes[symbol] = hashlib.sha256(text.encode()).hexdigest()
        return self.hashes[symbol]


@cache
def _module(name: str) -> _Module:
    if name not in _texts():
        raise ModuleNotFoundError(name)
    tree = ast.parse(_texts()[name])
    for node in _statements(tree):
        if isinstance(node, ast.Module | _DEFINITION) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    definitions: dict[str, list[ast.stmt | ast.expr]] = {}
    always: list[ast.stmt] = []
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass):
            continue
        names = list(_defined(statement))
        for defined in names:
            definitions.setdefault(defined, []).append(statement)
        if not names and not _for_types_only(statement):
            always.append(statement)
    for member, value in _members(tree):
        definitions[f"COMPONENTS[{member}]"] = [value]
    for declared in ("CARDS", "CARD", "KIND", "KINDS", "BLOCKS"):
        definitions.pop(
            declared, None
        )  # read as literals; what of a card counts is in the fingerprint itself
    return _Module(
        name,
        {key: tuple(nodes) for key, nodes in definitions.items()},
        _imported(name, tree),
        tuple(always),
    )


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """The tree and the statements in it, in the order of ``ast.walk``, which spends its time on expressions."""
    waiting = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for block in vars(node).values():
            if isinstance(block, list) and block and isinstance(block[0], _STATEMENT):
                waiting.extend(block)


def _defined(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement defines; none where it does something."""
    if isinstance(statement, _DEFINITION):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        targets = [
            inner
            for target in statement.targets
            for inner in (target.elts if isinstance(target, ast.Tuple) else [target])
        ]
        if all(isinstance(target, ast.Name) for target in targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _for_types_only(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def _members(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The members of a family, where its table is written out; else the whole table for each name of a card."""
    for statement in tree.body:
        target = (
            statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        )
        value = getattr(statement, "value", None)
        if not (isinstance(target, ast.Name) and target.id == "COMPONENTS" and value is not None):
            continue
        if isinstance(value, ast.Dict) and all(isinstance(key, ast.Constant) for key in value.keys):
            for key, member in zip(value.keys, value.values, strict=True):
                assert isinstance(key, ast.Constant)
                yield str(key.value), member
        else:
            for cards in tree.body:
                if isinstance(cards, ast.Assign) and ast.unparse(cards.targets[0]) == "CARDS":
                    for name in ast.literal_eval(cards.value):
                        yield name, value


def _imported(module: str, tree: ast.AST) -> dict[str, tuple[str, str | None]]:
    """Local name -> (module of ours, name in it or None for the module itself), wherever it is imported."""
    found: dict[str, tuple[str, str | None]] = {}
    package = module.rpartition(".")[0]
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                neighbour = f"{package}.{alias.name}"
                for name in (alias.name, neighbour):
                    if registry.module_file(name):
                        found[alias.asname or alias.name] = (name, None)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            sources = [node.module, f"{package}.{node.module}"]
            source = next((name for name in sources if registry.module_file(name)), None)
            if source is None:
                continue
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                local = alias.asname or alias.name
                found[local] = (inner, None) if registry.module_file(inner) else (source, alias.name)
    return found


# --- what a definition can reach -----------------------------------------------------------------------------------


@cache
def _reached(module: str, symbol: str) -> frozenset[str]:
    """The symbol of a module ("*": all) and all that it can reach; see ``_lines``."""
    reached: set[tuple[str, str]] = set()
    waiting = [(module, symbol)]
    while waiting:
        name, wanted = waiting.pop()
        found = _module(name)
        if wanted == "*":
            waiting += [(name, defined) for defined in found.definitions]
        elif wanted != "" and wanted not in found.definitions:
            source = found.imports.get(wanted)
            if source is None:
                # Not defined here in a way we see: the module as a whole.
                waiting += [(name, defined) for defined in found.definitions]
            else:
                waiting.append((source[0], source[1] or "*"))
            wanted = ""
        if wanted != "*" and (name, wanted) not in reached:
            reached.add((name, wanted))
            waiting += _references(name, wanted)
        if (name, "") not in reached:
            waiting.append((name, ""))
    return frozenset(f"{name}:{wanted} {_module(name).hash_of(wanted)}" for name, wanted in reached)


@cache
def _references(module: str, symbol: str) -> tuple[tuple[str, str], ...]:
    """The symbols of ours that the trees of a symbol name, as (module, symbol)."""
    found = _module(module)
    named: set[tuple[str, str]] = set()

    def bare(name: str) -> None:
        if name in found.definitions:
            named.add((module, name))
        elif name in found.imports:
            source, inner = found.imports[name]
            named.add((source, inner or "*"))

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            chain = _chain(node)
            for length in range(len(chain) - 1, 0, -1):
                local = ".".join(chain[:length])
                if local in found.imports and found.imports[local][1] is None:
                    named.add((found.imports[local][0], chain[length]))
                    return
        if isinstance(node, ast.Name):
            bare(node.id)
        for child in ast.iter_child_nodes(node):
            visit(child)

    for tree in found.nodes(symbol):
        visit(tree)
    return tuple(sorted(named))


def _chain(node: ast.AST) -> list[str]:
    """The names of ``a.b.c``, from left to right; none where it begins with anything but a name."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []
