"""Two tables about a study: its configuration, and what its results were made from."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glitchtrace.core.files import read_record
from glitchtrace.reporting.tables import write_csv


def describe_study(
    *, records: Sequence[str], settings: Mapping[str, Any], configuration: str | Path, provenance: str | Path
) -> None:
    """Stage: write ``configuration`` (key, value) and ``provenance`` (what, name, value, jobs) as CSV.

    ``records``: the JSON records of the jobs of a study.  ``provenance`` has a row for the code of each stage, the
    version of each package and each checksum of raw data, with the number of jobs that name it; times and costs are
    left out.  Raises GlitchtraceError where a record cannot be read.
    """
    keys = pd.DataFrame(_flat("", settings), columns=["key", "value"])
    counts = Counter(item for record in records for item in _origins(read_record(record)))
    rows = [(*item, jobs) for item, jobs in sorted(counts.items())]
    write_csv(keys, configuration)
    write_csv(pd.DataFrame(rows, columns=["what", "name", "value", "jobs"]), provenance)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """The leaves of nested mappings and lists as (dotted key, text)."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for position, inner in enumerate(value):
            yield from _flat(f"{prefix}[{position}]", inner)
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield prefix, text


def _origins(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "code", record["stage"], str(record["code"])
    for package, version in record["versions"].items():
        yield "version", package, version
    for source, checksums in record["data"].items():
        for name, checksum in checksums.items():
            yield "data", f"{source}: {name}", checksum
