"""What jobs will cost, from what their like has cost: CPU seconds from the records, bytes from the files.

Rules that write no record are measured by their benchmarks, where they have one.  An estimate is the mean over the
measured jobs of the same rule that are nearest: the same dataset and model; else the same model, else any, on
another dataset, in proportion to the numbers of training samples.  Where nothing has been measured there is no
estimate.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from glitchtrace.core import grid, recorded
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import read_record
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
        benchmarks: dict[str, list[_Measured]] = {}
        for path in sorted(results.rglob("*")) if results.exists() else ():
            if path.name.startswith(".") or not path.is_file():
                continue
            self._bytes.setdefault(path.name, []).append(_Measured(*self._keys(path), path.stat().st_size))
            if path.suffix == ".json":
                _add(self._seconds, _recorded(path))
            elif path.suffix == ".jsonl":
                _add(benchmarks, _benchmarked(path))
        self._seconds = {**benchmarks, **self._seconds}

    def seconds(self, job: Job) -> float | None:
        """Estimated CPU seconds of a job; None where no job of its rule has been measured."""
        return self._estimate(self._seconds.get(job.rule, ()), *_named(job.wildcards))

    def bytes(self, job: Job) -> float | None:
        """Estimated size of the files of a job; None where a file of some name has never been written."""
        paths = [Path(file) for file in job.files]
        sizes = [self._estimate(self._bytes.get(path.name, ()), *self._keys(path)) for path in paths]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def _keys(self, path: Path) -> tuple[str, str]:
        """The folders below the results, or below a study's own, that name dataset and model (in files of cells)."""
        try:
            parts = path.relative_to(self._results).parts[:-1]
        except ValueError:
            parts = path.parts[:-1]
        parts = parts[2:] if parts[:1] == ("studies",) else parts
        parts = parts[1:] if parts[:1] == ("cleansing",) else parts
        return (*parts, "", "")[0], (*parts, "", "")[1]

    def _estimate(self, measured: Iterable[_Measured], dataset: str, model: str) -> float | None:
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


def training_samples(settings: Mapping[str, Mapping[str, Any]], results: Path) -> Callable[[str], int | None]:
    """The function that gives the training samples of the datasets of a study, and of others that have results."""

    @cache
    def samples(dataset: str) -> int | None:
        known = settings["dataset"].get(dataset) or recorded.settings_of("dataset", dataset, results)
        try:
            return grid.sizes(dataset, known)[0] if known else None
        except GlitchtraceError:  # a dataset of another study, whose file or component is not at hand
            return None

    return samples


def _named(wildcards: Mapping[str, str]) -> tuple[str, str]:
    """Dataset and model of a job, or what stands in their place; empty where it has none."""
    model = next(
        (wildcards[key] for key in ("model", "learner", "network", "source") if key in wildcards), ""
    )
    return wildcards.get("dataset", wildcards.get("task", "")), model


def _add(measured: dict[str, list[_Measured]], found: tuple[str, _Measured] | None) -> None:
    if found:
        measured.setdefault(found[0], []).append(found[1])


def _recorded(path: Path) -> tuple[str, _Measured] | None:
    """Rule and CPU seconds in the record of a job; None for a file that is no record."""
    try:
        record = read_record(path)
        return record["stage"], _Measured(*_named(record["wildcards"]), float(record["cost"]["cpu_seconds"]))
    except (GlitchtraceError, KeyError, TypeError, ValueError):
        return None


def _benchmarked(path: Path) -> tuple[str, _Measured] | None:
    """Rule and CPU seconds in the benchmark of a job; None where Snakemake saw too little of the job."""
    try:
        line = json.loads(path.read_text(encoding="utf-8"))
        return line["rule_name"], _Measured(*_named(line["wildcards"]), float(line["cpu_time"]))
    except (OSError, KeyError, TypeError, ValueError):
        return None
