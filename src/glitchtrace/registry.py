"""Components by name: datasets, glitches, models, estimators, signals, repair policies, …

A component is one module that holds a literal dictionary ``CARD`` at its top level. ``names`` and ``card``
read that literal from the source without importing the module, so the Snakefile and the config schema learn
names, settings and capabilities without importing torch. ``load`` imports the module.

Keys common to all cards: ``summary`` (one sentence) and, where the component has settings, ``settings``
(key -> JSON-schema fragment with ``description`` and ``default``). ``name`` is the file's stem unless given.
"""

import ast
import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from glitchtrace.errors import GlitchtraceError

KINDS = {
    "dataset": "data/datasets",
    "glitch": "glitches",
    "model": "models",
    "estimator": "influence/estimators",
    "signal": "signals",
    "policy": "repair/policies",
    "learner": "repair/rdia/learners",
    "relabelling": "repair/rdia/methods",
    "selection": "repair/rdia_ls/methods",
    "protocol": "repair/cleansing/protocols",
    "cleansing_method": "repair/cleansing/methods",
    "fidelity_task": "repair/cleansing/tasks",
    "inspector": "repair/cincer/inspectors",
    "negotiator": "repair/cincer/negotiators",
    "noise": "repair/cincer/noises",
    "loop": "repair/cincer/loops",
}
_PACKAGE = Path(__file__).parent


def base_name(name: str) -> str:
    """The registered name behind ``name`` or ``name@variant``."""
    return name.partition("@")[0]


@cache
def _cards(kind: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Name -> (module, card) of every component of one kind, sorted by name."""
    found = {}
    for file in sorted((_PACKAGE / KINDS[kind]).glob("*.py")):
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "CARD":
                card = ast.literal_eval(statement.value)
                module = ".".join(("glitchtrace", *KINDS[kind].split("/"), file.stem))
                found[card.get("name", file.stem)] = (module, card)
    return dict(sorted(found.items()))


def names(kind: str) -> tuple[str, ...]:
    """Registered names of one kind (a key of ``KINDS``), sorted."""
    return tuple(_cards(kind))


def _entry(kind: str, name: str) -> tuple[str, Mapping[str, Any]]:
    try:
        return _cards(kind)[base_name(name)]
    except KeyError:
        known = ", ".join(names(kind))
        raise GlitchtraceError(f"unknown {kind} '{name}'; known: {known}") from None


def card(kind: str, name: str) -> Mapping[str, Any]:
    """The card of a component; ``name`` may carry a variant.  Raises GlitchtraceError if unknown."""
    return _entry(kind, name)[1]


def module_name(kind: str, name: str) -> str:
    """The dotted module of a component.  Raises GlitchtraceError if unknown."""
    return _entry(kind, name)[0]


def load(kind: str, name: str) -> ModuleType:
    """Import the module of a component.  Raises GlitchtraceError if unknown."""
    return importlib.import_module(module_name(kind, name))
