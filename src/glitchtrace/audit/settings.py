"""What a person may ask of an audit, checked at the door."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal

from glitchtrace.core.errors import GlitchtraceError

Task = Literal["auto", "classes", "numbers"]


@dataclass(frozen=True)
class Settings:
    """Settings of one audit.

    ``label``: column of a table, or of a labels file of pictures; ``labels``: labels file of a picture folder, or
    ``.npy`` beside an array.  ``id``, ``group``, ``time``, ``text``, ``drop``: columns (``text`` and ``drop``:
    several, divided by commas).  ``trusted``: a second file or folder in which leaks are looked for.  ``features``,
    ``probabilities``: ``.npy`` files aligned with the rows, (n, d) and (n, K) in the order of ``np.unique`` of the
    labels; probabilities also as a table whose columns are named by the classes.
    ``max_false``: the share of flags that may be wrong.  ``quality``: the slower backbone for pictures;
    ``backbone``, ``side``: any other.  ``gain_repeats``: repeats of the measurement of gain, 0 for none.
    """

    label: str | None = None
    labels: str | None = None
    id: str | None = None
    group: str | None = None
    time: str | None = None
    text: str | None = None
    drop: str | None = None
    trusted: str | None = None
    features: str | None = None
    probabilities: str | None = None
    task: Task = "auto"
    max_false: float = 0.1
    quality: bool = False
    backbone: str | None = None
    side: int | None = None
    folds: int = 5
    gain_repeats: int = 5
    seed: int = 0
    delimiter: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    header: bool | None = None

    def __post_init__(self) -> None:
        if self.task not in ("auto", "classes", "numbers"):
            raise GlitchtraceError(f"task: unknown value '{self.task}'; known: auto, classes, numbers")
        if not (math.isfinite(self.max_false) and 0 < self.max_false < 1):
            raise GlitchtraceError(
                f"max_false: {self.max_false} is no share between 0 and 1; write 0.1 for 10 %"
            )
        for name, least, most in (("folds", 2, 20), ("gain_repeats", 0, 100), ("seed", 0, 2**32 - 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise GlitchtraceError(
                    f"{name}: {value!r} is no whole number from {least} to {most}; correct it"
                )
        if self.side is not None and not (isinstance(self.side, int) and 16 <= self.side <= 1024):
            raise GlitchtraceError(f"side: {self.side} pixels; choose a whole number from 16 to 1024")
        if self.decimal not in (None, ".", ","):
            raise GlitchtraceError(f"decimal: {self.decimal!r}; known: '.' and ','")

    def columns_of(self, name: Literal["text", "drop"]) -> tuple[str, ...]:
        """The columns that a comma-divided option names."""
        return tuple(part.strip() for part in (getattr(self, name) or "").split(",") if part.strip())

    def record(self) -> dict[str, Any]:
        """The settings as JSON."""
        return asdict(self)

    def refuse_idle(self, origin: str, data: str, used: Iterable[str]) -> None:
        """Raise GlitchtraceError where a setting is given that has no effect on these data.

        ``data``: what they are; ``used``: the settings with an effect, beside those that every audit has.
        """
        known = {*_ALWAYS, *used}
        for each in fields(self):
            if each.name not in known and getattr(self, each.name) != each.default:
                raise GlitchtraceError(f"{origin}: {each.name} has no effect on {data}; leave it out")


_ALWAYS = (
    "task", "trusted", "features", "probabilities", "max_false", "folds", "gain_repeats", "seed",
)  # fmt: skip
#: The settings of text files.
DIALECT = ("delimiter", "encoding", "decimal", "header")
_COLUMN, _COLUMNS, _FILE, _NUMBER, _SWITCH, _WORD = (
    "the name of a column", "names of columns in one text, divided by commas", "a path", "a number",
    "true or false", "a text",
)  # fmt: skip
_WANTED = {
    **dict.fromkeys(("label", "id", "group", "time"), _COLUMN),
    **dict.fromkeys(("text", "drop"), _COLUMNS),
    **dict.fromkeys(("labels", "trusted", "features", "probabilities"), _FILE),
    **dict.fromkeys(("max_false", "folds", "gain_repeats", "seed", "side"), _NUMBER),
    **dict.fromkeys(("quality", "header"), _SWITCH),
    **dict.fromkeys(("task", "backbone", "delimiter", "encoding", "decimal"), _WORD),
}


def from_mapping(values: Mapping[str, Any]) -> Settings:
    """Settings from a mapping without None.  Raises GlitchtraceError for an unknown key and a value of another kind."""
    for key in values:
        if key not in _WANTED:
            raise GlitchtraceError(f"audit: unknown setting '{key}'; known: {', '.join(sorted(_WANTED))}")
    return Settings(**{key: _of_kind(key, value) for key, value in values.items() if value is not None})


def _of_kind(key: str, value: Any) -> Any:
    """A value in the type of its setting; numbers and switches may come as text, as Snakemake's command line gives."""
    wanted = _WANTED[key]
    if wanted == _NUMBER and isinstance(value, str):
        try:
            return float(value) if key == "max_false" else int(value)
        except ValueError:
            raise GlitchtraceError(f"{key}: '{value}' is no number; write one") from None
    if wanted == _NUMBER and isinstance(value, Real) and not isinstance(value, bool):
        return int(value) if isinstance(value, Integral) else float(value)
    if wanted == _SWITCH and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if wanted == _COLUMN and isinstance(value, Integral) and not isinstance(value, bool):
        return str(value)
    if wanted == _FILE and isinstance(value, os.PathLike):
        return os.fspath(value)
    if wanted not in (_NUMBER, _SWITCH) and isinstance(value, str):
        return str(value)
    kind = type(value).__name__
    shown = f"'{value}'" if isinstance(value, str | int | float) else f"a value of type {kind}"
    raise GlitchtraceError(f"{key}: {shown} does not fit; give {wanted}")
