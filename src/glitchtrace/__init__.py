"""glitchtrace: find, characterise and repair glitches in training data by training influence.

``glitchtrace.detect`` scores the rows of a training set, ``glitchtrace.influence`` measures what training samples do
to the predictions of others, ``glitchtrace.audit`` looks through data of one's own.  They report bad input
as a ``glitchtrace.GlitchtraceError``.  Everything else is private.
Importing the package imports nothing heavy: the names are loaded when they are used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

TYPE_CHECKING = False  # every job imports this, and typing takes longer than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from glitchtrace.audit.run import audit as audit
    from glitchtrace.core.errors import GlitchtraceError as GlitchtraceError
    from glitchtrace.library import detect as detect
    from glitchtrace.library import influence as influence

__version__ = "0.2.0"
__all__ = ["GlitchtraceError", "__version__", "audit", "detect", "influence"]

# Public name -> module and what stands behind it.
_PUBLIC = {
    "audit": ("glitchtrace.audit.run", "audit"),
    "detect": ("glitchtrace.library", "detect"),
    "influence": ("glitchtrace.library", "influence"),
    "GlitchtraceError": ("glitchtrace.core.errors", "GlitchtraceError"),
}


def _function(name: str) -> Callable[..., Any]:
    module, function = _PUBLIC[name]
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


class _Room(ModuleType):
    """A package whose name is also that of a public function: it can be called, and holds its modules as before."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return _function(self.__name__.rpartition(".")[2])(*arguments, **named)

    @property
    def __wrapped__(self) -> Callable[..., Any]:  # for signature()
        return _function(self.__name__.rpartition(".")[2])

    @property
    def __doc__(self) -> str:  # type: ignore[override]  # for help(): what it says when it is called
        import inspect

        name = self.__name__.rpartition(".")[2]
        return f"{name}{inspect.signature(self.__wrapped__)}\n\n{inspect.getdoc(self.__wrapped__)}"


class _FrontDoor(ModuleType):
    """The package itself: makes the rooms callable whose names are public."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PUBLIC and type(value) is ModuleType:
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor


def __getattr__(name: str) -> Any:
    if name in ("audit", "influence"):  # rooms that can be called
        return importlib.import_module(f"glitchtrace.{name}")
    if name in _PUBLIC:
        return _function(name)
    raise AttributeError(f"module 'glitchtrace' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
