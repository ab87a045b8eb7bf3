"""The description of a source: modality, class names, parts, columns and their categories, checksums."""

from pathlib import Path
from typing import Any

from glitchtrace.core import files


def read_description(path: str | Path) -> dict[str, Any]:
    """The content of a ``source.json``.  Raises GlitchtraceError where it is truncated or of another version."""
    return files.read_record(path)


def category_counts(description: dict[str, Any]) -> tuple[int, ...]:
    """Number of categories of each column of a table, 0 for a column of numbers; empty where all are numbers."""
    categories = description.get("categories") or {}
    columns = description.get("columns") or ()
    return tuple(len(categories.get(column, ())) for column in columns) if categories else ()
