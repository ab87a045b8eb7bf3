"""glitchtrace: find, characterise and repair glitches in training data by training influence.

Importing the package imports nothing heavy: the Snakefile does so on every parse.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

__version__ = "0.1.0"


def __getattr__(name: str) -> _Any:
    if name == "audit":
        return _import_module("glitchtrace.audit")
    raise AttributeError(f"module 'glitchtrace' has no attribute '{name}'")
