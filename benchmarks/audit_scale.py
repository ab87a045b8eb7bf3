"""What an audit of many rows costs, docs/tables/audit_scale.csv.

python benchmarks/audit_scale.py ROWS …       each adds its line to the table; delete it to begin anew
python benchmarks/audit_scale.py check        ends with exit status 1 where the table is over its budget

A made table of 50 columns: 38 numbers, 8 categories, 2 switches, a date, an id; a label of three classes of which
2 % are wrong; 0.5 % of the rows repeat another exactly, 0.5 % nearly.  The audit runs as its command does, in a
process of its own with two threads.  Budget: a million rows in 15 minutes and 4 GB, and no more than 1.3 times the
cost per row of a tenth of them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

TABLE = Path("docs/tables/audit_scale.csv")
SECONDS, GIGABYTES, SLOPE = 900, 4.0, 1.3
WRONG, TWINS = 0.02, 0.005


def made(rows: int, seed: int = 0) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The table, and which of its rows are wrong, equal to another and nearly equal to another."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, rows)
    centres = rng.normal(size=(3, 38))
    columns: dict[str, np.ndarray] = {"id": np.arange(rows)}
    for place in range(38):
        columns[f"n{place}"] = (0.7 * centres[label, place] + rng.normal(size=rows)).astype(np.float32)
    for place in range(8):
        shares = rng.dirichlet(np.ones(3 + 2 * place), size=3)
        draw = rng.random(rows)[:, None]
        code = (draw > np.cumsum(shares, axis=1)[label]).sum(axis=1)
        columns[f"c{place}"] = np.array([f"k{code}" for code in range(4 + 2 * place)])[code]
    for place in range(2):
        columns[f"b{place}"] = rng.random(rows) < np.array([0.3, 0.5, 0.7])[label]
    columns["day"] = np.datetime64("2020-01-01") + rng.integers(0, 1500, rows).astype("timedelta64[D]")
    count = int(TWINS * rows)
    chosen = rng.permutation(rows)
    exact, near, sources = chosen[:count], chosen[count : 2 * count], chosen[2 * count : 4 * count]
    for name, values in columns.items():
        if name == "id":
            continue
        values[exact] = values[sources[:count]]
        values[near] = values[sources[count:]]
        if name.startswith("n"):
            values[near] += (1e-4 * rng.uniform(-1, 1, count)).astype(np.float32)
    label[exact], label[near] = label[sources[:count]], label[sources[count:]]
    wrong = np.sort(rng.choice(np.setdiff1d(chosen[4 * count :], []), int(WRONG * rows), replace=False))
    label[wrong] = (label[wrong] + rng.integers(1, 3, len(wrong))) % 3
    columns["y"] = np.array(["low", "middle", "high"])[label]
    return pd.DataFrame(columns), {
        "wrong": wrong, "exact": np.concatenate([exact, sources[:count]]),
        "near": np.concatenate([near, sources[count:]]),
    }  # fmt: skip


def run(rows: int, form: str) -> dict[str, object]:
    """One audit: seconds, memory, and what it found of what was planted."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as place:
        folder = Path(place)
        frame, planted = made(rows)
        path = folder / f"table.{form}"
        if form == "csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False)
        columns = frame.shape[1] - 2
        del frame
        start = time.monotonic()
        program = (
            "import json, resource, sys; from glitchtrace.command import main; code = main(sys.argv[1:]); "
            "u = resource.getrusage(resource.RUSAGE_SELF); "
            "peak = [l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1]; "
            "print(json.dumps([code, u.ru_utime + u.ru_stime, int(peak)]))"
        )
        out = folder / "out"
        done = subprocess.run(
            [sys.executable, "-c", program, "audit", str(path), "--label", "y", "--id", "id", "--out", str(out)],
            capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "2"},
        )  # fmt: skip
        wall = time.monotonic() - start
        code, cpu, peak = json.loads(done.stdout.splitlines()[-1])
        if code:
            raise SystemExit(done.stderr)
        issues = pd.read_parquet(out / "issues.parquet", columns=["row", "verdict", "duplicate_of"])
        page = (out / "report.html").stat().st_size / 1e6
    flagged = issues.row[issues.verdict == "mislabelled"].to_numpy()
    twins = set(issues.row[issues.duplicate_of != ""])
    pairs = {
        kind: np.split(planted[kind], 2) if len(planted[kind]) else ([], []) for kind in ("exact", "near")
    }
    found = {
        kind: float(np.mean([a in twins or b in twins for a, b in zip(*pairs[kind], strict=True)]))
        for kind in pairs
    }
    return {
        "rows": rows,
        "columns": columns,
        "form": form,
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "cpu_ms_per_row": round(1000 * cpu / rows, 4),
        "gigabytes": round(peak * 1024 / 1e9, 2),
        "page_megabytes": round(page, 2),
        "planted_wrong": len(planted["wrong"]),
        "flagged": len(flagged),
        "flagged_right": int(np.isin(flagged, planted["wrong"]).sum()),
        "exact_found": round(found["exact"], 4),
        "near_found": round(found["near"], 4),
    }


def check() -> int:
    """Whether the committed table keeps the budget; says what does not."""
    table = pd.read_csv(TABLE)
    faults = []
    for form, lines in table.groupby("form"):
        cost = lines.set_index("rows").cpu_ms_per_row
        largest = lines.loc[lines.rows.idxmax()]
        scale = largest.rows / 1e6
        if largest.wall_seconds > SECONDS * max(scale, 0.1) or largest.gigabytes > GIGABYTES:
            faults.append(
                f"{form}: {largest.wall_seconds} s, {largest.gigabytes} GB for {largest.rows:,} rows"
            )
        if largest.rows // 10 in cost.index and cost[largest.rows] > SLOPE * cost[largest.rows // 10]:
            faults.append(f"{form}: a row of {largest.rows:,} costs more than 1.3 times one of a tenth")
    print(*(faults or ["within the budget"]), sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    if sys.argv[1] == "check":
        raise SystemExit(check())
    form = "csv" if "csv" in sys.argv else "parquet"
    for given in sys.argv[1:]:
        if given.isdigit():
            record = run(int(given), form)
            print(record, flush=True)
            pd.DataFrame([record]).to_csv(TABLE, mode="a", header=not TABLE.is_file(), index=False)
