"""A bar with the time that is left on the console of a person, lines of it in the log of a job; else silent."""

import sys
import time
from types import TracebackType
from typing import Any

# Shares of the whole, as measured on tables and pictures of some thousand rows.
STEPS = {"read": 4, "represent": 20, "detect": 40, "gain": 30, "write": 6}

_LOGGED = 30  # seconds between two lines of a log


class Progress:
    """One bar over the steps of an audit.

    ``logged``: instead of the bar a line on standard error whenever a step begins or half a minute has passed.
    """

    def __init__(self, shown: bool | None = None, logged: bool = False) -> None:
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._logged = logged
        self._begun = self._told = time.monotonic()
        self._bar: Any = None
        self._done = 0.0
        self._step = ""

    def __enter__(self) -> "Progress":
        if self._shown:
            from tqdm import tqdm

            form = "{desc:<10} {percentage:3.0f} %|{bar}| {elapsed} so far, {remaining} left"
            self._bar = tqdm(total=100.0, bar_format=form, leave=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, name: str) -> None:
        """Begin a step; what came before is done."""
        self._step = name
        self._done = float(
            sum(size for key, size in STEPS.items() if list(STEPS).index(key) < list(STEPS).index(name))
        )
        if self._bar is not None:
            self._bar.set_description_str(name)
        self._told = 0.0
        self.tick(0.0)

    def tick(self, share: float) -> None:
        """``share`` of the current step is done."""
        done = self._done + STEPS[self._step] * min(max(share, 0.0), 1.0)
        if self._bar is not None:
            self._bar.n = done
            self._bar.refresh()
        now = time.monotonic()
        if self._logged and now - self._told >= _LOGGED:
            past = now - self._begun
            left = f", about {past * (100 - done) / done:.0f} s left" if done else ""
            print(f"{self._step}: {done:.0f} % after {past:.0f} s{left}", file=sys.stderr, flush=True)
            self._told = now
