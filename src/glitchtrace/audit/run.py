"""The audit whole: one implementation behind the command, the Python function and the rule of the workflow."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.audit import outputs, verdicts
from glitchtrace.audit.cleaning import alike
from glitchtrace.audit.detection import Detection, detect
from glitchtrace.audit.progress import Progress
from glitchtrace.audit.representation import Representation, of_columns, standardised
from glitchtrace.audit.samples import Samples, as_text, from_arrays, read, with_extras
from glitchtrace.audit.settings import Settings, from_mapping
from glitchtrace.audit.store import Store
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.paths import audit_name
from glitchtrace.data import doors

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Findings", "audit", "audit_path", "run_audit"]


@dataclass(frozen=True)
class Findings:
    """What an audit found.

    ``issues``: one row per sample, most suspicious first (docs/audit.md).  ``summary``: counts, the number of wrong
    labels with its interval, how it was computed.  ``gain``: what the repairs bring on held-out rows, or why it was
    not measured.  ``folder``: where the report lies; None where none was written.
    """

    issues: "pd.DataFrame"
    summary: Mapping[str, Any]
    gain: Mapping[str, Any]
    folder: Path | None

    def repaired(self, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """The labels (n,) with the proposed repairs, and which rows (n,) to keep.

        ``y``: the labels that were audited.  Those that stay are the same values, new ones are of the same type.
        Raises GlitchtraceError where the labels are others.
        """
        labels = doors.plain(y, "y").copy().reshape(-1)
        if len(labels) != len(self.issues):
            raise GlitchtraceError(
                f"y: {len(labels)} labels where {len(self.issues)} were audited; give those"
            )
        texts = as_text(labels)
        for row, audited in zip(self.issues.row, self.issues.observed, strict=True):
            if not alike(texts[row], audited):
                raise GlitchtraceError(
                    f"y: row {row} is '{texts[row][:40]}' where '{audited[:40]}' was audited; give the labels audited, "
                    "in their order"
                )
        keep = np.ones(len(labels), dtype=bool)
        keep[self.issues.row[self.issues.action == "drop"]] = False
        changed = self.issues[self.issues.action == "relabel"]
        if self.summary["task"] == "numbers":
            new = [_number_like(labels, *each) for each in zip(changed.row, changed.proposed, strict=True)]
        else:
            known = {str(value).strip(): value for value in labels}
            known |= {str(text).strip(): value for text, value in zip(as_text(labels), labels, strict=True)}
            unknown = next((text for text in changed.proposed if text not in known), None)
            if unknown is not None:
                raise GlitchtraceError(
                    f"y: no label is '{unknown}', a class of the audit; give the labels audited"
                )
            new = [known[text] for text in changed.proposed]
        if labels.dtype.kind in "US":  # text of a fixed width
            labels = labels.astype(np.result_type(labels, *(np.array(text) for text in new)))
        for row, value in zip(changed.row, new, strict=True):
            labels[row] = value
        return labels, keep


def _number_like(labels: np.ndarray, row: int, text: str) -> Any:
    """A proposed number in the type of the label it replaces."""
    kind = type(labels[row])
    if issubclass(kind, str):
        return text
    number = Decimal(text.replace(",", "."))
    return kind(number.to_integral_value() if issubclass(kind, int | np.integer) else number)


def audit(
    X: Any, y: Any = None, *, out: str | Path | None = None, progress: bool | None = None, **settings: Any
) -> Findings:
    """Find wrong labels, anomalies, corrupted samples, duplicates and leaks in one's own data.

    Parameters
    ----------
    X : array (n, d), pandas frame, or the path of a table, of a folder of pictures or of ``.npy`` features
        The samples.
    y : array (n,), optional
        Labels or, for a numeric target, numbers.  Left out where ``label`` names a column.
    out : path, optional
        Where ``issues.parquet``, ``report.html`` and the rest are written; nothing is written without it.
    progress : bool, optional
        A bar on standard error; by default where it is a terminal.
    **settings
        See ``glitchtrace.audit.settings.Settings``.  With samples in memory ``probabilities``, ``features``,
        ``group`` and ``time`` may be arrays; columns of a frame of probabilities that are named by the classes are
        taken by their names.

    Returns
    -------
    Findings
        ``issues``, ``summary``, ``gain``.

    Raises
    ------
    GlitchtraceError
        One line: what is wrong with the data or a setting, and the remedy.

    Notes
    -----
    Every row is judged by models that have not seen it.  docs/audit.md says how, and what the promise means.
    """
    if isinstance(X, str | os.PathLike):
        if y is not None:
            raise GlitchtraceError("y: a file has its labels with it; give label='column', or labels='file'")
        return audit_path(os.fspath(X), out=out, progress=progress, **settings)
    given = {
        key: settings.pop(key)
        for key in ("probabilities", "features", "group", "time")
        # A frame may have a number for the name of a column.
        if settings.get(key) is not None and not isinstance(settings[key], str | os.PathLike | Real)
    }
    doors.same_order(X=X, y=y, **given)
    chosen = from_mapping(settings)
    with Progress(progress) as bar:
        bar.step("read")
        samples = with_extras(from_arrays(X, y, chosen), chosen, given)
        return _run(samples, chosen, _folder(out), bar, None)


def audit_path(
    path: str | Path, *, out: str | Path | None = None, progress: bool | None = None, **settings: Any
) -> Findings:
    """Audit a file or a folder; see ``audit``."""
    chosen = from_mapping(settings)
    with Progress(progress) as bar:
        bar.step("read")
        samples = read(path, chosen)
        return _run(samples, chosen, _folder(out), bar, str(path))


def run_audit(*, data: str, settings: Mapping[str, Any], issues: str | Path, **_: Any) -> None:
    """Stage: audit ``data`` and write everything into the folder of ``issues``.

    What a killed job had computed lies in ``stages`` until a later one has taken it over and ended; nothing that is
    not declared stays.
    """
    chosen, folder = from_mapping(settings), Path(issues).parent
    with Progress(False, logged=True) as bar:
        bar.step("read")
        _run(read(data, chosen), chosen, folder, bar, data)
    shutil.rmtree(folder / "stages", ignore_errors=True)


def _folder(out: Any) -> Path | None:
    if out is not None and not isinstance(out, str | os.PathLike):
        raise GlitchtraceError(f"out: a value of type {type(out).__name__} does not fit; give a path")
    return None if out is None else Path(out)


def default_folder(path: str | Path) -> Path:
    """``results/audit/<name>`` for a file or folder of the user's."""
    return Path("results") / "audit" / audit_name(str(Path(path).absolute()))


def _run(
    samples: Samples,
    settings: Settings,
    out: Path | None,
    bar: Progress,
    source: str | None,
) -> Findings:
    if len(samples) < 2:
        raise GlitchtraceError(
            f"{samples.name}: {len(samples)} row; an audit compares rows: give at least two"
        )
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GlitchtraceError(
                f"{out}: no folder can be made here ({error.strerror}); give another --out"
            ) from None
        outputs.guard(out, samples, settings, source)
    store = Store(out / "stages" if out is not None else None)
    with _single_products():
        bar.step("represent")
        samples, views = _represent(samples, settings, store, bar)
        bar.step("detect")
        found = detect(samples, views, settings, store, bar.tick)
        table = verdicts.issues(samples, found.evidence)
        bar.step("gain")
        gain = _gain(samples, views, found, settings, store, bar)
    summary = outputs.summary(samples, views, found, table, settings, source)
    bar.step("write")
    if out is not None:
        outputs.write(out, samples, table, summary, gain, bar.tick)
    return Findings(table, summary, gain, out)


@contextmanager
def _single_products() -> Iterator[None]:
    """Matrix products on one thread.

    Their last bits depend on the number of threads, and an audit's do not.  The matrices are small: on two threads,
    which wait for each other busily, the jury costs four times the processor.
    """
    import scipy.linalg  # noqa: F401 - only a library that is loaded can be told
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, user_api="blas"):
        yield


def _represent(
    samples: Samples, settings: Settings, store: Store, bar: Progress
) -> tuple[Samples, Representation | None]:
    views: Representation | None = None
    if samples.kind == "pictures":
        from glitchtrace.audit.picture_samples import represent

        samples, views = represent(samples, settings, store, bar.tick)
        if views.said == "none":
            views = None
    elif samples.kind == "table" and samples.columns:
        views = of_columns(
            samples.columns, settings.seed, () if samples.trusted is None else samples.trusted.columns
        )
    if samples.features is not None:
        trusted = None if samples.trusted is None else samples.trusted.features
        every = samples.features if trusted is None else np.concatenate([samples.features, trusted])
        lines = standardised(every, len(samples))
        narrow = samples.kind == "arrays" and settings.features is None and lines.shape[1] <= 100
        said = f"features as given, {samples.features.shape[1]} columns"
        views = Representation(
            lines[: len(samples)], samples.features if narrow else None, said,
            trusted=None if trusted is None else lines[len(samples) :],
        )  # fmt: skip
    return samples, views


def _gain(
    samples: Samples,
    views: Representation | None,
    found: Detection,
    settings: Settings,
    store: Store,
    bar: Progress,
) -> dict[str, Any]:
    from glitchtrace.audit import gain

    losses = found.facts.get("held_out_loss")
    if found.facts.get("unjudged"):
        return gain.unmeasured(str(found.facts["unjudged"]))
    if views is None or losses is None:
        return gain.unmeasured("there is no learner that could be trained with and without the repairs")
    rows = np.flatnonzero(found.judged)  # rows before which nothing lies train, too
    classes = 0
    y: np.ndarray
    if samples.labels is not None:
        used, y = np.unique(samples.labels[rows], return_inverse=True)
        classes = len(used)
    else:
        assert samples.target is not None
        numbers = samples.target[rows]
        most = max(float(np.abs(numbers).max()), 1e-300)  # the square of a number may overflow
        y = (numbers - np.median(numbers)) / max(float(np.std(numbers / most)) * most, 1e-300)
    given = {
        "views": views.of(rows), "y": y, "classes": classes, "losses": losses,
        "groups": None if found.groups is None else found.groups[rows],
        "times": None if samples.times is None else samples.times[rows],
        "max_false": settings.max_false, "repeats": settings.gain_repeats, "seed": settings.seed,
    }  # fmt: skip
    _, record = store.stage(
        "gain",
        given,
        lambda **given: ({}, gain.measure(**given, tick=bar.tick)),
        "glitchtrace.audit.gain:measure",
    )
    return record
