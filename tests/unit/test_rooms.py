"""Arrows go one way: a room imports the rooms before it, at any depth of a function, and never one after."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src/glitchtrace"
# Rooms that stand side by side do not know each other.
ORDER: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("data",),
    ("glitches", "models"),
    ("training",),
    ("influence",),
    ("detectors",),
    ("evaluation",),
    ("repair",),
    ("reporting",),
    ("audit", "operations"),
    ("papers",),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def imported(file: Path) -> Iterator[str]:
    """Every module of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: write the whole name"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_every_room_has_its_place() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(LEVEL)


def test_no_room_imports_one_that_comes_after_it() -> None:
    against = []
    for file in sorted(PACKAGE.rglob("*.py")):
        room = file.relative_to(PACKAGE).parts[0]
        if room not in LEVEL:
            continue  # the front door
        for module in imported(file):
            parts = module.split(".")
            if parts[0] != "glitchtrace" or parts[1] not in LEVEL or parts[1] == room:
                continue
            if LEVEL[parts[1]] >= LEVEL[room]:
                against.append(f"{file.relative_to(PACKAGE)} imports {module}")
    assert not against


def test_the_core_imports_no_science() -> None:
    # numpy and pandas are how files are read.
    science = {"scipy", "torch", "sklearn", "matplotlib", "snakemake"}
    heavy = {
        (file.name, module)
        for file in (PACKAGE / "core").glob("*.py")
        for module in imported(file)
        if module.partition(".")[0] in science
    }
    assert heavy == set()
