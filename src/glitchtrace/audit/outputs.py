"""What an audit writes: the list, the summary, the page, the cleaned data and the gain."""

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.audit import cleaning, verdicts
from glitchtrace.audit.cleaning import neutral
from glitchtrace.audit.page import page
from glitchtrace.audit.samples import Samples
from glitchtrace.audit.settings import Settings
from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError

if TYPE_CHECKING:
    import pandas as pd

    from glitchtrace.audit.detection import Detection
    from glitchtrace.audit.representation import Representation

_NAMES = ("issues.parquet", "issues.csv", "summary.json", "gain.json", "report.html")
_BLOCK = 2**14  # rows of the list that are held as text at once


def summary(
    samples: Samples,
    views: "Representation | None",
    found: "Detection",
    table: "pd.DataFrame",
    settings: Settings,
    source: str | None,
) -> dict[str, Any]:
    """Counts, the number of wrong labels, and how everything was found."""
    counts = {verdict: int((table.verdict == verdict).sum()) for verdict in verdicts.VERDICTS}
    facts = dict(found.facts)
    number, notes = facts.pop("number", None), facts.pop("notes", [])
    if number:
        number = {key: round(float(value), 2) for key, value in number.items()}
    return {
        "source": source,
        "name": samples.name,
        "kind": samples.kind,
        "digest": samples.digest,
        "rows": len(samples),
        "classes": list(samples.class_names),
        "task": "numbers" if samples.numeric else "classes",
        "representation": views.said if views is not None else "none",
        "counts": counts,
        "wrong_labels": number,
        "max_false": settings.max_false,
        "settings": settings.record(),
        "notes": [*samples.notes, *notes],
        "facts": facts,
    }


def guard(out: Path, samples: Samples, settings: Settings, source: str | None) -> None:
    """Raise GlitchtraceError where an output would take the place of an input or of a file of the user's.

    What an audit of the same data has written there is replaced, but for a list that was edited since.
    """
    targets = [out / name for name in (*_NAMES, f"cleaned{cleaning.suffix(samples)}")]
    for target in targets:
        cleaning.check_target(target, cleaning.inputs(source, settings))
    if not os.access(out, os.W_OK):
        raise GlitchtraceError(f"{out}: this folder may not be written; give another --out")
    there = next((target for target in targets if target.exists()), None)
    if there is None:
        return
    try:
        earlier = files.read_record(out / "summary.json")
        known, digest = earlier["source"], earlier["digest"]
    except (GlitchtraceError, KeyError, TypeError):
        raise GlitchtraceError(
            f"{there}: no audit wrote this file, which is never written over; move it or give another --out"
        ) from None
    same = Path(known).resolve() == Path(source).resolve() if known and source else known == source
    if not same and digest != samples.digest:
        raise GlitchtraceError(
            f"{out}: the audit of {known or 'arrays in memory'} lies there; give another --out"
        )
    if _edited(out):
        raise GlitchtraceError(
            f"{out / 'issues.csv'}: the list is not as the audit wrote it; apply or move it, or give another --out"
        )


def _edited(out: Path) -> bool:
    """Whether the list in a folder is another than the one that was written with ``issues.parquet``."""
    if not (out / "issues.csv").exists():
        return False
    try:
        table = files.read_parquet(out / "issues.parquet")
    except GlitchtraceError:
        return True
    value = 0
    for block in _csv(table):
        value = zlib.crc32(block, value)
    return f"{value:08x}" != files.crc32(out / "issues.csv")


def write(
    out: Path,
    samples: Samples,
    table: "pd.DataFrame",
    summary: Mapping[str, Any],
    gain: Mapping[str, Any],
    tick: Callable[[float], None],
) -> None:
    """Write all outputs into a folder."""
    # First of all: where it lies, what else lies there is of this audit (see ``guard``).
    files.write_record(dict(summary), out / "summary.json")
    with files.replacing(out / "issues.csv") as temporary:
        with open(temporary, "wb") as stream:
            stream.writelines(_csv(table))
        files.write_parquet(table, out / "issues.parquet")
    files.write_record(dict(gain), out / "gain.json")
    tick(0.3)
    cleaning.write(samples, cleaning.proposed(table), out, "cleaned")
    tick(0.6)
    files.write_text(page(samples, table, summary, gain), out / "report.html")


def _csv(table: "pd.DataFrame") -> Iterator[bytes]:
    """A CSV file in which no cell of text is a formula to a spreadsheet: such a cell gets a leading apostrophe."""
    for first in range(0, len(table), _BLOCK):
        safe = table.iloc[first : first + _BLOCK].copy()
        for name in safe.columns:
            if not np.issubdtype(safe[name].to_numpy().dtype, np.number) and safe[name].dtype != bool:
                safe[name] = [neutral(value) for value in safe[name]]
        safe.columns = [neutral(name) for name in safe.columns]
        text = safe.to_csv(None, index=False, header=first == 0, lineterminator="\n")
        yield text.encode("utf-8", "backslashreplace")
