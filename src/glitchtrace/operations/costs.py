"""What jobs will cost, from what their like has cost: CPU seconds from the records, bytes from the files.

An estimate is the mean over the measured jobs of the same rule that are nearest: the same dataset and model; else
the same model, else any, on another dataset, in proportion to the numbers of training samples.  Where nothing has
been measured there is no estimate.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glitchtrace import grid
from glitchtrace.errors import GlitchtraceError
from glitchtrace.files import read_record
from glitchtrace.operations.jobs import Job


@dataclass(frozen=True)
class _Measured:
    dataset: str
    model: str
    value: float


class Costs:
    """Measured costs below a results folder; ``samples`` gives the training samples of a dataset, None if unknown."""

    def __init__(self, results: Path, samples: Callable[[str], int | None]) -> None:
        self._results = results
        self._samples = samples
        self._seconds: dict[str, list[_Measured]] = {}
        self._bytes: dict[str, list[_Measured]] = {}
        for path in sorted(results.rglob("*")) if results.exists() else ():
            if path.name.startswith(".") or not path.is_file():
                continue
            keys = self._keys(path)
            self._bytes.setdefault(path.name, []).append(_Measured(*keys, path.stat().st_size))
            if path.suffix == ".json":
                seconds = _cpu_seconds(path)
                if seconds is not None:
                    self._seconds.setdefault(path.stem, []).append(_Measured(*keys, seconds))

    def seconds(self, job: Job) -> float | None:
        """Estimated CPU seconds of a job; None where no job of its rule has been measured."""
        return self._estimate(self._seconds.get(job.rule, ()), Path(job.files[0]))

    def bytes(self, job: Job) -> float | None:
        """Estimated size of the files of a job; None where a file of some name has never been written."""
        sizes = [self._estimate(self._bytes.get(Path(file).name, ()), Path(file)) for file in job.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def _keys(self, path: Path) -> tuple[str, str]:
        """The folders below the results that name dataset and model (in files of cells)."""
        try:
            parts = path.relative_to(self._results).parts
        except ValueError:
            parts = path.parts
        return (*parts[:-1], "", "")[0], (*parts[:-1], "", "")[1]

    def _estimate(self, measured: Iterable[_Measured], path: Path) -> float | None:
        dataset, model = self._keys(path)
        same = [item.value for item in measured if (item.dataset, item.model) == (dataset, model)]
        if same:
            return sum(same) / len(same)
        for like in (lambda item: item.model == model, lambda item: True):
            scaled = [self._scaled(item, dataset) for item in measured if like(item)]
            known = [value for value in scaled if value is not None]
            if known:
                return sum(known) / len(known)
        return None

    def _scaled(self, item: _Measured, dataset: str) -> float | None:
        if item.dataset == dataset:
            return item.value
        here, there = self._samples(dataset), self._samples(item.dataset)
        return item.value * here / there if here and there else None


def training_samples(settings: Mapping[str, Mapping[str, Any]]) -> Callable[[str], int | None]:
    """The function that gives the training samples of the datasets that a study names."""

    def samples(dataset: str) -> int | None:
        known = settings["dataset"].get(dataset)
        return grid.sizes(dataset, known)[0] if known else None

    return samples


def _cpu_seconds(path: Path) -> float | None:
    """The CPU seconds in the record of a job; None for a file that is no record."""
    try:
        return float(read_record(path)["cost"]["cpu_seconds"])
    except (GlitchtraceError, KeyError, TypeError, ValueError):
        return None
