"""What this package costs beside others: one table of cases, each subject in a process of its own (``make bench``).

    GLITCHTRACE_DATA=… python benchmarks/performance.py [CASE …] [--large] [--repeats 3] [--table FILE.csv]

The subjects of a case take turns, so that a busy machine is busy for all; a ratio is the median of the ratios within
a turn.  Measured with one thread: CPU seconds (children included), peak memory over the inputs (VmHWM), the largest
difference from the case's reference relative to its largest entry, and a matrix product as the yardstick of the
machine.  Peers that this environment lacks run in that of ``make peers``; without it their rows say ``skipped``.
Ends with exit status 1 where a budget is missed.  ``--large`` adds what takes minutes.
"""

import argparse
import ctypes
import importlib
import importlib.util
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers/bin/python"
TABLE, HISTORY = ROOT / "docs/tables/performance.csv", ROOT / "benchmarks/history.csv"
MIB = 2**20
# The least of so many calls in a process counts, where they are short: the first finds nothing in the caches.
CALLS, SHORT_SECONDS = 3, 3.0


@dataclass(frozen=True)
class Budget:
    """Most CPU seconds, × the first subject, MiB over the inputs (the result not counted) and relative difference.

    ``wall``: seconds by the clock, of what uses both cores of a machine with nothing beside it.
    ``over``: CPU seconds for each of the ``cells`` of the size over their work alone; ``times_over``: × the first
    subject's.
    ``submissions``: jobs that a cluster sees.
    """

    times: float = np.inf
    seconds: float = np.inf
    mib: float = np.inf
    difference: float = np.inf
    over: float = np.inf
    times_over: float = np.inf
    submissions: float = np.inf
    wall: float = np.inf


@dataclass(frozen=True)
class Case:
    """Subjects that do the same work; the first is what the others are compared with.

    ``subjects``: name -> ``module:function``, called with ``size``; it returns the call to be measured.  ``whole``:
    memory is that of the whole process, with imports and inputs.  ``work``: subject -> that of its work alone.
    """

    name: str
    subjects: Mapping[str, str]
    size: Mapping[str, Any] = field(default_factory=dict)
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    work: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    large: bool = False
    data: bool = False

    def measure(self, subject: str, file: Path) -> dict[str, float]:
        """Cost of one subject in this process; its arrays go to ``file``."""
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # what a child leaves behind becomes a child of this process
        module, _, function = self.subjects[subject].partition(":")
        square = np.ones((1024, 1024), np.float32)
        square @ square
        started = time.process_time()
        square @ square
        yardstick = time.process_time() - started
        del square
        call: Callable[[], dict[str, np.ndarray]] = getattr(importlib.import_module(module), function)(
            **self.size
        )
        _wait_for_children()  # what preparing left behind is no part of the call
        before = 0 if self.whole else _reset_peak()
        clock = time.perf_counter()
        used = [_cpu()]
        result = call()
        _wait_for_children()
        used.append(_cpu())
        wall = time.perf_counter() - clock
        peak = max(
            _memory("VmHWM"), 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * self.whole
        )
        np.savez(file, **result)
        held = sum(array.nbytes for array in result.values())
        if not self.whole:
            while len(used) <= CALLS and used[-1] - used[0] < SHORT_SECONDS:
                result = call()
                used.append(_cpu())
        return {
            "seconds": min(np.diff(used)),
            "wall": wall,
            "MiB": (peak - before - (0 if self.whole else held)) / MIB,
            "yardstick": yardstick,
        }


ENGINE = "influence_engine"
DIFFERENCE = 2e-5


def _engine() -> list[Case]:
    cases = []
    for d in (64, 768):
        for frozen in (True, False):
            size = {"d": d, "frozen": frozen}
            kind = f"{'frozen' if frozen else 'changing'} features, d {d}"
            peers = {
                "captum TracInCP": f"{ENGINE}:captum",
                "dattri TracIn": f"{ENGINE}:dattri",
                "pyDVL gradients": f"{ENGINE}:pydvl",
            }
            same = Budget(times=1.5, mib=16, difference=DIFFERENCE)
            cases += [
                Case(
                    f"matrix, {kind}",
                    {"plain": f"{ENGINE}:plain_matrix", "ours": f"{ENGINE}:our_matrix"}
                    | (peers if frozen and d == 64 else dict(list(peers.items())[: int(frozen)])),
                    size,
                    {"ours": same},
                ),
                Case(
                    f"self influence, {kind}",
                    {"plain": f"{ENGINE}:plain_self", "ours": f"{ENGINE}:our_self"},
                    size,
                    {"ours": same},
                ),
                Case(
                    f"class profile, {kind}",
                    {"plain": f"{ENGINE}:plain_tables", "ours": f"{ENGINE}:our_tables"},
                    size,
                    {"ours": same},
                ),
                Case(
                    f"all profiles, {kind}",
                    {"plain": f"{ENGINE}:plain_profiles", "ours": f"{ENGINE}:our_profiles"},
                    size,
                    {"ours": same},
                ),
                # The goal for the signals is set against one matrix, of which they see eight.
                Case(
                    f"signals beside one matrix, {kind}",
                    {"plain matrix": f"{ENGINE}:plain_matrix", "ours": f"{ENGINE}:our_profiles"},
                    size,
                    {"ours": Budget(times=2.5 if d == 64 else 1.2, mib=16)},
                ),
            ]
        cases.append(
            Case(
                f"matrix of the weights, d {d}",
                {
                    "ours": f"{ENGINE}:our_matrix_without_bias",
                    "captum TracInCPFast": f"{ENGINE}:captum_fast",
                },
                {"d": d},
            )
        )
    return cases


CURVE = {
    "n": (1200, 2400, 4800, 9600),
    "m": (600, 1200, 2400, 4800),
    "d": (32, 128, 512, 2048),
    "K": (2, 10, 50, 100),
    "T": (1, 2, 5, 10),
}


def _curves() -> list[Case]:
    return [
        Case(
            f"curve of {name}, {'frozen' if frozen else 'changing'} features, {value}",
            {"ours": f"{ENGINE}:our_profiles"},
            {name: value, "frozen": frozen},
        )
        for frozen in (True, False)
        for name, values in CURVE.items()
        for value in values
    ]


# Many cells of seconds, and their stages without Snakemake.
SMALL = {"ours": "commands:small_cells", "their stages in one process": "commands:small_cells_alone"}
ALONE, SAME = {"ours": "their stages in one process"}, Budget(difference=0)

CASES: tuple[Case, ...] = (
    *_engine(),
    Case(
        "metagradient of a head",
        {"ours": f"{ENGINE}:our_metagradient"},
        {"n": 4800, "m": 1200, "d": 64, "K": 10, "steps": 1500, "batch": 64},
        {"ours": Budget(seconds=25, mib=300)},
    ),
    Case(
        "slice of 1.28 M x 50 k, 1,000 classes",
        {"ours": f"{ENGINE}:our_profiles_of_the_sum"},
        {"n": 1000, "m": 10_000, "d": 768, "K": 1000, "T": 5, "frozen": True},
    ),
    *_curves(),
    Case(
        "RDIA, MNIST 1 against 7",
        {"ours": "papers_cost:rdia"},
        budgets={"ours": Budget(seconds=25, mib=800)},  # what the published program takes
        whole=True,
        data=True,
    ),
    Case(
        "CINCER, a repeat on breast cancer",
        {"ours": "papers_cost:cincer_breast"},
        budgets={"ours": Budget(seconds=6)},
        whole=True,
    ),
    Case(
        "small MNIST cell of ResNet-20",
        {"plain script": "mnist_cell:plain", "ours": "mnist_cell:alone"},
        {"subset": 0.01, "epochs": 3},
        {"ours": Budget(difference=DIFFERENCE)},
        whole=True,
        data=True,
    ),
    Case(
        "dry run of the full grid",
        {"when the goal was set": "commands:dry_run_then", "ours": "commands:dry_run"},
        # Goals in seconds were set on a machine twice as fast, each beside what it was there: here 15 s of 31.5.
        budgets={"ours": Budget(seconds=15, times=15 / 31.5)},
    ),
    Case(
        "MNIST cell of ResNet-20",
        {"plain script": "mnist_cell:plain", "ours": "mnist_cell:alone"},
        {"subset": 0.1, "epochs": 7},
        {"ours": Budget(times=0.85, mib=860, difference=DIFFERENCE)},
        whole=True,
        large=True,
        data=True,
    ),
    Case(
        "MNIST cell and five of other label noise",
        {"a cell": "mnist_cell:alone", "ours": "mnist_cell:together"},
        {"subset": 0.1, "epochs": 7},
        {"ours": Budget(times=2, mib=860, difference=0)},
        whole=True,
        large=True,
        data=True,
    ),
    *(
        Case(
            f"60,000 x 10,000 x 768, all signals, {'frozen' if frozen else 'changing'} features",
            {"plain matrix, in parts": f"{ENGINE}:plain_matrix_in_parts", "ours": f"{ENGINE}:our_profiles"},
            {"n": 60_000, "m": 10_000, "d": 768, "frozen": frozen},
            {"ours": Budget(seconds=55 if frozen else 90, mib=128)},
            large=True,
        )
        for frozen in (True, False)
    ),
    Case(
        "20 small cells",
        {
            "when the goal was set": "commands:small_cells_then",
            "its stages in one process": "commands:small_cells_then_alone",
        }
        | SMALL,
        {"cells": 20},
        {"ours": Budget(over=1.5, times_over=1.5 / 6.6), "their stages in one process": SAME},
        work=ALONE | {"when the goal was set": "its stages in one process"},
        whole=True,
        large=True,
    ),
    *(
        Case(
            f"{cells:,} small cells on a Slurm of this machine",
            SMALL | {"ours": "commands:small_cells_submitted"},
            {"cells": cells},
            # 64 to a submission, and two before and after them.
            {"ours": Budget(submissions=20 if cells == 1000 else 6), "their stages in one process": SAME},
            work=ALONE,
            whole=True,
            large=True,
        )
        for cells in (200, 1000)
    ),
    Case(
        "demo",
        {"when the goal was set": "commands:demo_then", "ours": "commands:demo"},
        {"cores": 2},
        {"ours": Budget(seconds=180, wall=100, times=180 / 463)},
        whole=True,
        large=True,
    ),
    Case(
        "demo, nothing to do",
        {"ours": "commands:nothing_to_do"},
        budgets={"ours": Budget(seconds=3)},
        large=True,
    ),
)


def run(case: Case, repeats: int, folder: Path) -> list[dict[str, Any]]:
    """The rows of a case: its subjects in turn, ``repeats`` times."""
    found: dict[str, list[dict[str, float]]] = {subject: [] for subject in case.subjects}
    skipped: dict[str, str] = {}
    for _ in range(repeats):
        for subject in case.subjects:
            if subject not in skipped and (reason := _one(case, subject, folder, found[subject])):
                skipped[subject] = reason
    first = next(iter(case.subjects))
    rows = []
    for subject, costs in found.items():
        row: dict[str, Any] = {
            "case": case.name,
            "subject": subject,
            "size": " ".join(f"{key}={value}" for key, value in case.size.items()),
        }
        if subject in skipped:
            rows.append(row | {"verdict": f"skipped: {skipped[subject]}"})
            continue
        seconds = [cost["seconds"] for cost in costs]
        times = [mine / other["seconds"] for mine, other in zip(seconds, found[first], strict=False)]
        row |= {
            "repeats": len(costs),
            "CPU s": median(seconds),
            "least": min(seconds),
            "most": max(seconds),
            "wall s": median(cost["wall"] for cost in costs),
            "times the first": median(times) if subject != first else 1.0,
            "MiB": max(0.0, median(cost["MiB"] for cost in costs)),
            "yardstick s": median(cost["yardstick"] for cost in costs),
            "difference": _difference(folder, subject, case.subjects),
        }
        if subject in case.work:
            row["over its work, a cell"] = _over(case, subject, found)
            row["times the first over its work"] = _over(case, subject, found) / _over(case, first, found)
        with np.load(folder / f"{subject}.npz") as results:
            if "submissions" in results:
                row["submissions"] = int(results["submissions"])
        rows.append(row | {"verdict": _verdict(case.budgets.get(subject), row)})
    return rows


def _over(case: Case, subject: str, found: Mapping[str, list[dict[str, float]]]) -> float:
    """CPU seconds of a cell over its work alone, the median over the turns."""
    pairs = zip(found[subject], found[case.work[subject]], strict=True)
    return median(mine["seconds"] - work["seconds"] for mine, work in pairs) / case.size["cells"]


def _one(case: Case, subject: str, folder: Path, costs: list[dict[str, float]]) -> str:
    """Measure a subject once more; the reason where it cannot be."""
    if case.data and "GLITCHTRACE_DATA" not in os.environ:
        return "GLITCHTRACE_DATA is not set"
    peer = subject.partition(" ")[0].lower()
    python = sys.executable
    if peer in ("captum", "dattri", "pydvl") and not _has(python, peer):
        python = str(PEERS)
        if not PEERS.exists():
            return "make peers makes its environment"
    environment = os.environ | dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
    )
    environment["PYTHONPATH"] = str(ROOT / "src")
    command = [python, "-W", "ignore", __file__, "--measure", case.name, subject]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        if "ours" in subject:
            raise SystemExit(f"{case.name}, {subject}: {done.stderr}")
        return lines[-1]
    costs.append(json.loads(done.stdout.splitlines()[-1]))
    return ""


def _has(python: str, module: str) -> bool:
    return importlib.util.find_spec(module) is not None if python == sys.executable else True


# Columns that few cases have, what they are called, and their budgets.
SPARSE = {
    "over its work, a cell": ("over the work, CPU s a cell", "over"),
    "times the first over its work": ("over the work, times", "times_over"),
    "submissions": ("submissions", "submissions"),
}


def _verdict(budget: Budget | None, row: Mapping[str, Any]) -> str:
    if budget is None:
        return ""
    # An entry that is not compared is within every budget.
    judged = [
        (f"{name} {row[column]:.3g} of {most:.3g}", row[column] > most, column in SPARSE)
        for name, column, most in (
            ("CPU s", "CPU s", budget.seconds),
            ("times", "times the first", budget.times),
            ("MiB", "MiB", budget.mib),
            ("difference", "difference", budget.difference),
            ("wall s", "wall s", budget.wall),
            *((name, column, getattr(budget, most)) for column, (name, most) in SPARSE.items()),
        )
        if column in row and most < np.inf
    ]
    missed = [text for text, beyond, _ in judged if beyond]
    if missed:
        return f"missed: {', '.join(missed)}"
    # What has no column on the page.
    shown = ", ".join(text for text, _, sparse in judged if sparse)
    return f"kept: {shown}" if shown else "kept"


def _difference(folder: Path, subject: str, subjects: Iterable[str]) -> float:
    """From the first subject before it that has arrays of the same names; nan where there is none.

    The largest difference of an array, relative to its largest entry.
    """
    with np.load(folder / f"{subject}.npz") as found:
        for other in itertools.takewhile(lambda name: name != subject, subjects):
            if not (folder / f"{other}.npz").exists():
                continue  # it was skipped
            with np.load(folder / f"{other}.npz") as expected:
                shared = [name for name in expected.files if name in found.files and "count" not in name]
                if any(found[name].shape != expected[name].shape for name in shared):
                    return float("inf")
                if shared:
                    return max(
                        float(np.abs(found[name] - expected[name]).max() / np.abs(expected[name]).max())
                        for name in shared
                    )
    return float("nan")


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _wait_for_children() -> None:
    """Until none is left: the worker of a workflow ends a moment after its Snakemake, and its jobs count."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def _reset_peak() -> int:
    """Give freed memory back and set the peak to what is resident now (Linux); return that in bytes."""
    np.ones((256, 256), np.float32) @ np.ones((256, 256), np.float32)  # the buffers of BLAS are no part of it
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))


def _remember(rows: list[dict[str, Any]]) -> None:
    """Add the medians of this run to the history: what became slower is seen beside what it was."""
    import pandas as pd

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    kept = pd.DataFrame([row for row in rows if "CPU s" in row and not row["case"].startswith("curve")])
    kept = kept.assign(date=date.today().isoformat(), commit=commit, processor=platform.machine())
    columns = [
        "date",
        "commit",
        "processor",
        "case",
        "subject",
        "CPU s",
        "times the first",
        "MiB",
        "yardstick s",
    ]
    kept[columns].to_csv(HISTORY, mode="a", header=not HISTORY.exists(), index=False, float_format="%.4g")


def main() -> int:
    """Measure the chosen cases, print and judge; 1 where a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="beginnings of names; all without")
    parser.add_argument("--large", action="store_true", help="the cases that take minutes, too")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--table", type=Path, help="a CSV whose rows of these cases are replaced")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "SUBJECT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    named = {case.name: case for case in CASES}
    if options.measure:
        case, subject = options.measure
        print(json.dumps(named[case].measure(subject, Path(f"{subject}.npz"))))
        return 0
    import pandas as pd

    chosen = [
        case
        for case in CASES
        if (options.large or not case.large or options.cases)
        and (not options.cases or any(case.name.startswith(start) for start in options.cases))
    ]
    if not chosen:
        parser.error(f"no case begins with {' or '.join(options.cases)}; they are: {', '.join(named)}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            found = run(case, options.repeats, Path(folder))
            rows += found
            for row in found:
                shown = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values())
                print(*shown, sep=" | ", flush=True)
            if options.table:
                _keep(pd.DataFrame(found), options.table)
    if options.table:
        _remember(rows)
    missed = [row for row in rows if row["verdict"].startswith("missed")]
    skipped = [row for row in rows if row["verdict"].startswith("skipped")]
    print(f"{len(rows)} rows, {len(missed)} missed, {len(skipped)} skipped")
    return int(bool(missed))


def _keep(rows: Any, table: Path) -> None:
    """Put the rows into the table in the place of those of the same case, in the order of the cases."""
    import pandas as pd

    order = {case.name: place for place, case in enumerate(CASES)}
    if table.exists():
        before = pd.read_csv(table)
        rows = pd.concat([before[~before["case"].isin(rows["case"]) & before["case"].isin(order)], rows])
    rows = rows.sort_values("case", key=lambda names: names.map(order), kind="stable")
    rows.to_csv(table, index=False, float_format="%.4g")


if __name__ == "__main__":
    raise SystemExit(main())
