"""What a result was made from: code fingerprints and package versions.

Snakemake sees changes of rules, parameters and inputs, but not of the imported library.  Each rule therefore has
the fingerprint of the modules behind it among its parameters: a comment or a docstring changes nothing, a real
edit re-runs that stage and what follows.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).parent.parent
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


def fingerprint(*modules: str) -> str:
    """Hash of the syntax trees, without docstrings, of ``modules`` and all of glitchtrace that they import."""
    digest = hashlib.sha256()
    for name in sorted(_closure(modules)):
        digest.update(f"{name}:{_tree_hash(name)}\n".encode())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Installed versions of the packages whose numbers enter results."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _file(module: str) -> Path | None:
    path = _ROOT / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _tree(module: str) -> ast.Module:
    file = _file(module)
    if file is None:
        raise ModuleNotFoundError(module)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@cache
def _tree_hash(module: str) -> str:
    return hashlib.sha256(ast.dump(_tree(module)).encode()).hexdigest()


@cache
def _imports(module: str) -> frozenset[str]:
    """Modules of glitchtrace that one module imports, at its top level or inside a function."""
    found: set[str] = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            candidates = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found.update(name for name in candidates if name.startswith("glitchtrace.") and _file(name))
    return frozenset(found)


def _closure(modules: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(_imports(module))
    return seen
