"""Components by name: datasets, glitches, models, estimators, detectors, repair policies, …

A module that holds components says so at its top level, in literals that are read from the source without importing
it, so that the workflow learns names, settings and capabilities without importing torch:

* ``KIND = "dataset"`` and ``CARDS = {name: card, …}``: a family; the module's ``COMPONENTS[name]`` is the component;
* ``KIND = "dataset"`` and ``CARD = card``: one component, the module itself, named by the file's stem or the card's
  ``name``.

Keys of every card: ``summary`` (one sentence) and, where the component has settings, ``settings`` (key → JSON-schema
fragment with ``description`` and ``default``), ``shares`` (groups of settings that the kind offers; a name or a
list) and ``defaults`` (other defaults of these).

A room's ``components.py`` declares its kinds in a literal ``KINDS = {kind: {"table": …, "settings": …, "shared": …}}``:
the configuration table of the kind (none: no settings), the settings that all its components have, groups that some
share, and other ``keys`` by which parameters name the kind; ``listed``, a key of the configuration that lists members
beside the grid; ``card``, the further keys of its cards as JSON-schema fragments, and which of them are ``required``;
``function``, what a module that is a component holds.  ``BLOCKS`` declares lists of blocks that expand over a grid
(see ``core.configuration``).

Components of a user's own lie in folders or modules that ``add`` names, read in the same way.
"""

import ast
import importlib
import importlib.util
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from glitchtrace.core.errors import GlitchtraceError

PACKAGE = Path(__file__).parents[1]
# Folders and modules of the user's own, as absolute paths or dotted names: what jobs find in their environment.
ENVIRONMENT = "GLITCHTRACE_COMPONENTS"
_PREFIX = "glitchtrace_components"
_DECLARATIONS = {True: ("KINDS", "BLOCKS"), False: ("KIND", "CARD", "CARDS")}
_DECLARES = re.compile(r"^(KIND|CARDS?)\s*[:=]", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One registered component: where it is, and its card."""

    kind: str
    name: str
    module: str
    card: Mapping[str, Any]
    family: bool


@dataclass(frozen=True)
class _Found:
    """All that the scanned modules declare."""

    kinds: Mapping[str, Mapping[str, Any]]
    blocks: Mapping[str, Mapping[str, Any]]
    entries: Mapping[str, Mapping[str, Entry]]
    files: Mapping[str, Path]
    naming: dict[str, str] = field(default_factory=dict)


def base_name(name: str) -> str:
    """The registered name behind ``name`` or ``name@variant``."""
    return name.partition("@")[0]


def source_of(dataset: str) -> str:
    """The source that a dataset's rows lie in: its base name, shared by its variants.

    Variants of a dataset of the user's own (card ``own``) are other files, so each is a source of its own.
    """
    return dataset if card("dataset", dataset).get("own") else base_name(dataset)


def add(places: Sequence[str], folder: str | Path = ".") -> None:
    """Register components of the user's own, here and in the processes that this one starts.

    ``places``: folders or files, relative to ``folder``, or dotted names of importable modules or packages.  Raises
    GlitchtraceError where there is no such place.
    """
    resolved = []
    for place in places:
        path = Path(folder, place).resolve()
        if not path.exists() and not (re.fullmatch(r"\w+(\.\w+)*", place) and _located(place)):
            raise GlitchtraceError(f"components: there is no folder, file or module {place}; mend the path")
        resolved.append(str(path) if path.exists() else place)
    known = [place for place in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if place]
    os.environ[ENVIRONMENT] = os.pathsep.join(dict.fromkeys([*known, *resolved]))
    _scan(os.environ[ENVIRONMENT])  # a fault in a file is said now


def kinds() -> Mapping[str, Mapping[str, Any]]:
    """Kind → its declaration (``table``, ``settings``, ``shared``), sorted."""
    return _all().kinds


def blocks() -> Mapping[str, Mapping[str, Any]]:
    """Configuration key → declaration of a list of blocks that expand over a grid."""
    return _all().blocks


def tables() -> dict[str, str]:
    """Configuration table → kind of component."""
    return {spec["table"]: kind for kind, spec in kinds().items() if spec.get("table")}


def names(kind: str) -> tuple[str, ...]:
    """Registered names of one kind, sorted."""
    return tuple(_all().entries.get(kind, {}))


def entry(kind: str, name: str) -> Entry:
    """A component's place and card; ``name`` may carry a variant.  Raises GlitchtraceError if unknown."""
    try:
        return _all().entries[kind][base_name(name)]
    except KeyError:
        known = ", ".join(names(kind))
        raise GlitchtraceError(f"unknown {kind} '{name}'; known: {known}") from None


def card(kind: str, name: str) -> Mapping[str, Any]:
    """The card of a component; ``name`` may carry a variant.  Raises GlitchtraceError if unknown."""
    return entry(kind, name).card


def settings(kind: str, name: str) -> dict[str, Any]:
    """Every setting of a component as schema fragments: the kind's, the shared groups it names, its own."""
    spec, own = kinds()[kind], card(kind, name)
    shares = own.get("shares", ())
    found = dict(spec.get("settings", {}))
    for group in [shares] if isinstance(shares, str) else shares:
        found.update(spec["shared"][group])
    defaults = own.get("defaults", {})
    found = {
        key: {**fragment, "default": defaults[key]} if key in defaults else fragment
        for key, fragment in found.items()
    }
    return {**found, **own.get("settings", {})}


def chosen(kind: str, choice: str | Iterable[str]) -> list[str]:
    """The components of a choice, sorted, each once: names, and the words ``default`` and ``all`` for groups.

    A group holds what comes with the package: ``default`` where a card says ``"default": True``.  Raises
    GlitchtraceError for an unknown name.
    """
    found: set[str] = set()
    for name in [choice] if isinstance(choice, str) else choice:
        if name in ("all", "default"):
            shipped = [member for member in _all().entries.get(kind, {}).values() if member.name not in found]
            found.update(
                member.name
                for member in shipped
                if member.module.startswith(f"{PACKAGE.name}.")
                and (name == "all" or member.card.get("default"))
            )
        else:
            entry(kind, name)
            found.add(name)
    return sorted(found)


def load(kind: str, name: str) -> Any:
    """Import a component: the module, or of a family the member.

    Raises GlitchtraceError if unknown, and where the module does not hold what its kind asks for.
    """
    found = entry(kind, name)
    module = _import(found.module)
    if found.family:
        members = getattr(module, "COMPONENTS", {})
        if found.name not in members:
            raise GlitchtraceError(
                f"{place(kind, name)}: COMPONENTS has no '{found.name}'; add what CARDS names"
            )
        return members[found.name]
    function = kinds()[kind].get("function")
    if function and not callable(getattr(module, function, None)):
        raise GlitchtraceError(f"{place(kind, name)}: there is no function {function}; add it")
    return module


def place(kind: str, name: str) -> str:
    """Kind, name and file of a component, for messages."""
    return f"{kind} {name} ({module_file(entry(kind, name).module)})"


def raw_files(kind: str, name: str) -> list[tuple[Path, str, Path]]:
    """Folder, pattern and file of the raw files that a card names: below the module's folder or the data folder."""
    found = entry(kind, name)
    module = module_file(found.module)
    folders = [module.parent] if module else []
    folders += [Path(root).expanduser() for root in [os.environ.get("GLITCHTRACE_DATA")] if root]
    return [
        (folder, pattern, file)
        for folder in folders
        for pattern in found.card.get("files", ())
        for file in sorted(folder.glob(pattern))
        if file.is_file()
    ]


def missing_files(kind: str, name: str) -> list[str]:
    """The raw files that a card names and that are not there; a pattern (``*``, ``?``, ``[``) may stand for none."""
    named = [pattern for pattern in card(kind, name).get("files", ()) if not re.search(r"[*?[]", pattern)]
    there = {pattern for _, pattern, _ in raw_files(kind, name)} if named else set()
    return [pattern for pattern in named if pattern not in there]


def own() -> list[Entry]:
    """The components that do not come with the package."""
    members = [member for known in _all().entries.values() for member in known.values()]
    return [member for member in members if not member.module.startswith(f"{PACKAGE.name}.")]


def module_file(module: str) -> Path | None:
    """The source file of a module of glitchtrace or of the user's components; None for any other."""
    if module in _all().files:
        return _all().files[module]
    if module.startswith(f"{PACKAGE.name}.") or module == PACKAGE.name:
        path = PACKAGE.parent / Path(*module.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def source_files() -> list[tuple[str, Path]]:
    """Module and file of all code that ``module_file`` knows: the package's, and the user's components."""
    packages = [
        (".".join(file.parent.relative_to(PACKAGE.parent).parts), file)
        for file in PACKAGE.rglob("__init__.py")
    ]
    return sorted([*packages, *_package_files(), *_own_files(os.environ.get(ENVIRONMENT, ""))])


def _all() -> _Found:
    return _scan(os.environ.get(ENVIRONMENT, ""))


@cache
def _scan(places: str) -> _Found:
    """Read the declarations of the package and of the user's places."""
    kinds: dict[str, Mapping[str, Any]] = {}
    blocks: dict[str, Mapping[str, Any]] = {}
    entries: dict[str, dict[str, Entry]] = {}
    own_files: dict[str, Path] = {}
    for module, file in [*_package_files(), *_own_files(places)]:
        if not module.startswith(f"{PACKAGE.name}."):
            own_files[module] = file
        found = _declarations(file)
        kinds.update(found.get("KINDS", {}))
        blocks.update(found.get("BLOCKS", {}))
        if "KIND" not in found:
            continue
        family = "CARDS" in found
        cards = found["CARDS"] if family else {found["CARD"].get("name", file.stem): found["CARD"]}
        for name, own in cards.items():
            known = entries.setdefault(found["KIND"], {})
            if name in known:
                raise GlitchtraceError(
                    f"{file}: there is another {found['KIND']} named '{name}' ({known[name].module}); rename one"
                )
            known[name] = Entry(found["KIND"], name, module, own, family)
    unknown = sorted(set(entries) - set(kinds))
    if unknown:
        module = next(iter(entries[unknown[0]].values())).module
        raise GlitchtraceError(
            f"{own_files.get(module, module)}: KIND '{unknown[0]}' is unknown; known: {', '.join(sorted(kinds))}"
        )
    return _Found(
        dict(sorted(kinds.items())),
        blocks,
        {kind: dict(sorted(members.items())) for kind, members in sorted(entries.items())},
        own_files,
    )


def _declarations(file: Path) -> dict[str, Any]:
    """The literals that a file declares at its top level."""
    text = file.read_text(encoding="utf-8")
    of_room = file.name == "components.py"
    if not of_room and not _DECLARES.search(text):
        return {}
    found: dict[str, Any] = {}
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        raise GlitchtraceError(f"{file}:{error.lineno}: no Python ({error.msg}); mend it") from None
    for statement in statements:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        name = target.id if isinstance(target, ast.Name) else ""
        if name in _DECLARATIONS[of_room]:
            try:
                found[name] = ast.literal_eval(statement.value)
            except (ValueError, TypeError):
                raise GlitchtraceError(
                    f"{file}:{statement.lineno}: {name} is read without running the file; write its values out, "
                    "without names or calls"
                ) from None
    if of_room:
        return found
    cards = [key for key in ("CARD", "CARDS") if key in found]
    if "KIND" in found and len(cards) != 1:
        raise GlitchtraceError(f"{file}: KIND needs one of CARD and CARDS; write the card of the component")
    if cards and not isinstance(found.get("KIND"), str):
        raise GlitchtraceError(f'{file}: {cards[0]} without KIND; add KIND = "dataset", or another kind')
    for key in cards:
        members = found[key].values() if key == "CARDS" and isinstance(found[key], dict) else [found[key]]
        if not all(isinstance(card, dict) for card in members):
            raise GlitchtraceError(f"{file}: {key} holds no card; write a dictionary with a summary")
    return found


def _package_files() -> Iterator[tuple[str, Path]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.name != "__init__.py":
            yield ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts), file


def _own_files(places: str) -> Iterator[tuple[str, Path]]:
    for place in filter(None, places.split(os.pathsep)):
        path = Path(place)
        if path.is_absolute():
            folder = path if path.is_dir() else path.parent
            prefix = f"{_PREFIX}.f{zlib.crc32(str(folder).encode()):08x}"
            for file in sorted(folder.glob("*.py")) if path.is_dir() else [path]:
                yield f"{prefix}.{file.stem}", file
        else:
            located = _located(place)
            assert located is not None
            if located.name == "__init__.py":
                for file in sorted(located.parent.glob("*.py")):
                    yield f"{place}.{file.stem}", file
            else:
                yield place, located


def _located(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _import(module: str) -> Any:
    if module in sys.modules or not module.startswith(f"{_PREFIX}."):
        return importlib.import_module(module) if module not in sys.modules else sys.modules[module]
    file = _all().files[module]
    if str(file.parent) not in sys.path:  # its neighbours may be imported
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(module, file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[module]
        raise
    return loaded


def named_in(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The components that parameters name, as sorted (kind, name).

    A key that is a kind or its table (``dataset``, ``datasets``), at any depth, names components: a name, a list of
    names, or a mapping whose keys are names.  None names none.
    """
    keys, entries = _naming(), _all().entries
    found: set[tuple[str, str]] = set()

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key in keys:
                    found.update((keys[key], base_name(name)) for name in _names(inner))
                walk(inner)
        elif isinstance(value, Iterable) and not isinstance(value, str):
            for inner in value:
                walk(inner)

    walk(parameters)
    found = {(kind, name) for kind, name in found if name in entries.get(kind, {})}
    # What a card says the component uses beside what the parameters say.
    waiting = list(found)
    while waiting:
        kind, name = waiting.pop()
        for used_kind, used in entries[kind][name].card.get("uses", {}).items():
            for other in used:
                if (used_kind, other) not in found:
                    found.add((used_kind, other))
                    waiting.append((used_kind, other))
    return sorted(found)


def _naming() -> Mapping[str, str]:
    """Key of parameters → kind that it names: the kind, its table, other keys that it declares."""
    found = _all()
    if not found.naming:
        found.naming.update({kind: kind for kind in found.kinds})
        found.naming.update(tables())
        for kind, spec in found.kinds.items():
            found.naming.update(dict.fromkeys(spec.get("keys", ()), kind))
    return found.naming


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Iterable):
        return [name for name in value if isinstance(name, str)]
    return []
