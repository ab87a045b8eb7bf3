"""What an audit writes: the list, the summary, the page, the cleaned data and the gain."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.audit import cleaning, verdicts
from glitchtrace.audit.cleaning import neutral
from glitchtrace.audit.page import page
from glitchtrace.audit.samples import Samples
from glitchtrace.audit.settings import Settings
from glitchtrace.core import files

if TYPE_CHECKING:
    import pandas as pd

    from glitchtrace.audit.detection import Detection
    from glitchtrace.audit.representation import Representation


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
    number = facts.pop("number", None)
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
        "expected_false": round(float(_expected_false(found, table)), 2),
        "settings": settings.record(),
        "notes": list(samples.notes),
        "facts": facts,
    }


def _expected_false(found: "Detection", table: "pd.DataFrame") -> float:
    flagged = found.evidence.flags
    return float((1 - found.evidence.wrong[flagged]).sum()) if flagged.any() else 0.0


def write(
    out: Path,
    samples: Samples,
    table: "pd.DataFrame",
    summary: Mapping[str, Any],
    gain: Mapping[str, Any],
    tick: Callable[[float], None],
) -> None:
    """Write all outputs into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    files.write_parquet(table, out / "issues.parquet")
    write_csv(table, out / "issues.csv")
    files.write_record(dict(summary), out / "summary.json")
    files.write_record(dict(gain), out / "gain.json")
    tick(0.3)
    cleaning.write(samples, cleaning.proposed(table), out, "cleaned")
    tick(0.6)
    files.write_text(page(samples, table, summary, gain), out / "report.html")


def write_csv(table: "pd.DataFrame", target: Path) -> None:
    """A CSV file in which no cell of text is a formula to a spreadsheet: such a cell gets a leading apostrophe."""
    safe = table.copy()
    for name in safe.columns:
        if not np.issubdtype(safe[name].to_numpy().dtype, np.number) and safe[name].dtype != bool:
            safe[name] = [neutral(value) for value in safe[name]]
    safe.columns = [neutral(name) for name in safe.columns]
    with files.replacing(target) as temporary:
        safe.to_csv(temporary, index=False, encoding="utf-8", errors="backslashreplace", lineterminator="\n")
