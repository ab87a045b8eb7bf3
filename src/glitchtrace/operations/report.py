"""Two pages for the terminal: the state of a study, and what it would cost to finish it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from glitchtrace.operations.costs import Costs, training_samples
from glitchtrace.operations.jobs import Job, cell_of, names, read_config, read_jobs, results_folder


def status(study: str | None, cores: int) -> str:
    """What exists, what is stale and why, how many cells are left, and how long they will take."""
    jobs, costs, cells = _open(study)
    rows = []
    for rule in names(jobs):
        own = [job for job in jobs if job.rule == rule]
        pending = [job for job in own if job.pending]
        reasons = Counter(job.reason for job in pending)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        rows.append(
            {
                "rule": rule,
                "jobs": len(own),
                "whole": len(own) - len(pending),
                "left": len(pending),
                "why": why,
            }
        )
    return "\n".join([_table(rows), "", cells, _left(jobs, costs, cores)])


def plan(study: str | None, cores: int) -> str:
    """Jobs, CPU time and disk of a study, what of it exists, and what is left to do."""
    jobs, costs, cells = _open(study)
    rows = []
    for rule in names(jobs):
        own = [job for job in jobs if job.rule == rule]
        left = [job for job in own if job.pending]
        rows.append(
            {
                "rule": rule,
                "jobs": len(own),
                "left": len(left),
                "CPU time": _time(_total([costs.seconds(job) for job in left])),
                "disk": _size(_total([costs.bytes(job) for job in left])),
            }
        )
    disk = _total([costs.bytes(job) for job in jobs if job.pending])
    return "\n".join([_table(rows), "", cells, _left(jobs, costs, cores), f"disk: {_size(disk)} more"])


def _open(study: str | None) -> tuple[list[Job], Costs, str]:
    """The jobs of a study, the measured costs, and the line that counts its cells."""
    config = read_config(study)
    results, jobs = results_folder(config), read_jobs(study)
    return jobs, Costs(results, training_samples(config["settings"], results)), _cells(jobs, results)


def _cells(jobs: Sequence[Job], results: Path) -> str:
    cells = {cell for job in jobs for file in job.files if (cell := cell_of(file, results))}
    left = {cell for job in jobs if job.pending for file in job.files if (cell := cell_of(file, results))}
    return f"cells: {len(cells) - len(left)} of {len(cells)} whole, {len(left)} left"


def _left(jobs: Sequence[Job], costs: Costs, cores: int) -> str:
    left = [job for job in jobs if job.pending]
    found = [costs.seconds(job) for job in left]
    known = [seconds for seconds in found if seconds is not None]
    text = f"jobs: {len(jobs) - len(left)} of {len(jobs)} whole, {len(left)} left"
    if known:
        about = "about" if len(known) == len(left) else "at least"
        text += f"; {about} {_time(sum(known))} of CPU, {_time(sum(known) / cores)} on {cores} cores"
    if len(known) < len(left):
        text += f" ({len(left) - len(known)} of them without a measured cost)"
    return text


def _total(values: Sequence[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known or not values else None


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "not measured"
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _size(amount: float | None) -> str:
    if amount is None:
        return "not measured"
    return f"{amount / 1e9:.2f} GB" if amount >= 1e9 else f"{amount / 1e6:.1f} MB"


def _table(rows: Sequence[dict[str, object]]) -> str:
    return pd.DataFrame(rows).to_string(index=False, justify="left")
