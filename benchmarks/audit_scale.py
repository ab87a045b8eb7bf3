"""What an audit of many rows or pictures costs, and what it finds: docs/tables/audit_{scale,pictures,memory}.csv.

python benchmarks/audit_scale.py [csv] ROWS …   each adds its line to the first table; delete it to begin anew
python benchmarks/audit_scale.py pictures SEED  writes the second: 10,000 pictures of MNIST, read below GLITCHTRACE_DATA
python benchmarks/audit_scale.py memory         docs/tables/audit_memory.csv: of what the memory of pictures consists
python benchmarks/audit_scale.py check          ends with exit status 1 where a table is over its budget

Rows: a made table of 50 columns: 38 numbers, 8 categories, 2 switches, a date, an id; a label of three classes of which
2 % are wrong; 0.5 % of the rows repeat another exactly, 0.5 % nearly.  Budget: a million rows in 15 minutes and 4 GB,
and no more than 1.3 times the cost per row of a quarter of them.

Pictures: a folder of 9,900 digits of MNIST's training part, of which 500 lie in a wrong class, and 100 garments of
Fashion-MNIST, 10 in each class.  Budget: 150 CPU seconds, 1.5 GB; of the first 450 suspects 90 % have a wrong label,
and the first 150 anomalies hold 80 of the garments.

The audit runs as its command does, in a process of its own: rows with two threads, pictures with one (two threads
of one core cost twice the CPU seconds).  Its page is opened five times in Chromium where that is installed: the least
time to the first paint counts, and of the processor until it is idle.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

TABLE, PICTURES = Path("docs/tables/audit_scale.csv"), Path("docs/tables/audit_pictures.csv")
MEMORY = Path("docs/tables/audit_memory.csv")
SECONDS, GIGABYTES, SLOPE, PAINT, PAGE = 900, 4.0, 1.3, 2.0, 15.0
WRONG, TWINS = 0.02, 0.005
CHROMIUM = "/usr/bin/chromium"


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


def audited(path: Path, out: Path, *options: str, threads: int = 2) -> dict[str, float]:
    """One audit as its command does it: seconds, memory and the page."""
    start = time.monotonic()
    program = (
        "import json, resource, sys; from glitchtrace.command import main; code = main(sys.argv[1:]); "
        "u = resource.getrusage(resource.RUSAGE_SELF); "
        "peak = [l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1]; "
        "print(json.dumps([code, u.ru_utime + u.ru_stime, int(peak)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "audit", str(path), *options, "--out", str(out)],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    wall = time.monotonic() - start
    code, cpu, peak = json.loads(done.stdout.splitlines()[-1])
    if code:
        raise SystemExit(done.stderr)
    return {
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "gigabytes": round(peak * 1024 / 1e9, 2),
        "page_megabytes": round((out / "report.html").stat().st_size / 1e6, 2),
        **painted(out / "report.html"),
    }


def painted(page: Path, loads: int = 5) -> dict[str, float]:
    """Seconds to the first paint of a page, and of the processor until it is idle: the least of some loads."""
    if not Path(CHROMIUM).exists():
        return {"paint_seconds": np.nan, "paint_cpu_seconds": np.nan}
    from playwright.sync_api import sync_playwright

    paint, busy = [], []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for _ in range(loads):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            session = tab.context.new_cdp_session(tab)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            tab.goto(page.resolve().as_uri())
            entries = "performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)"
            while not (seen := tab.evaluate(entries)):  # the page's policy forbids Playwright's own waiting
                tab.wait_for_timeout(20)
            paint.append(seen[0] / 1000)
            metrics = {
                each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]
            }
            busy.append(metrics["TaskDuration"])
            tab.close()
        browser.close()
    return {"paint_seconds": round(min(paint), 2), "paint_cpu_seconds": round(min(busy), 2)}


def run(rows: int, form: str) -> dict[str, object]:
    """One audit of a table: what it costs, and what it found of what was planted."""
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
        cost = audited(path, folder / "out", "--label", "y", "--id", "id")
        issues = pd.read_parquet(folder / "out/issues.parquet", columns=["row", "verdict", "duplicate_of"])
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
        **cost,
        "cpu_ms_per_row": round(1000 * cost["cpu_seconds"] / rows, 4),
        "planted_wrong": len(planted["wrong"]),
        "flagged": len(flagged),
        "flagged_right": int(np.isin(flagged, planted["wrong"]).sum()),
        "exact_found": round(found["exact"], 4),
        "near_found": round(found["near"], 4),
    }


def pictures(seed: int) -> dict[str, object]:
    """One audit of a folder of pictures with its backbone: what it costs, and what stands first in its list."""
    from PIL import Image

    from glitchtrace.data.datasets.idx import read_idx

    root = Path(os.environ["GLITCHTRACE_DATA"])
    rng = np.random.default_rng(seed)

    def drawn(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        raw = root / name / "raw"
        images = read_idx(raw / "train-images-idx3-ubyte.gz", 3)
        chosen = np.sort(rng.choice(len(images), count, replace=False))
        return images[chosen], read_idx(raw / "train-labels-idx1-ubyte.gz", 1)[chosen].astype(int)

    images, labels = drawn("MNIST", 9900)
    garments, _ = drawn("FashionMNIST", 100)
    wrong = rng.choice(len(labels), 500, replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as place:
        folder = Path(place)
        for row, (image, label) in enumerate(
            zip([*images, *garments], [*labels, *(np.arange(100) % 10)], strict=True)
        ):
            target = folder / "digits" / str(label) / f"{row:05d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(target)
        cost = audited(folder / "digits", folder / "out", threads=1)
        issues = pd.read_parquet(folder / "out/issues.parquet")
    number = issues.id.str.extract(r"(\d+)\.png$")[0].astype(int)
    false, foreign = number.isin(wrong), number >= len(labels)
    suspects = issues.score_label.sort_values(ascending=False, kind="stable").index[:450]
    far = issues.score_distance.sort_values(ascending=False, kind="stable").index[:150]
    flagged = issues.verdict == "mislabelled"
    return {
        "seed": seed,
        "pictures": len(issues),
        **cost,
        "wrong_of_first_450": int(false[suspects].sum()),
        "foreign_of_first_450": int(foreign[suspects].sum()),
        "foreign_in_first_150": int(foreign[far].sum()),
        "flagged": int(flagged.sum()),
        "flagged_wrong": int((flagged & false).sum()),
        "called_foreign": int(((issues.verdict == "anomalous") & foreign).sum()),
    }


def memory() -> None:
    """What each step of an audit of pictures adds to the memory of one process, in its order."""

    def held(name: str) -> float:
        with open("/proc/self/status") as stream:
            return next(int(line.split()[1]) * 1024 / 1e6 for line in stream if line.startswith(f"{name}:"))

    def libraries() -> str:
        for name in (
            "faiss",
            "pyarrow.parquet",
            "scipy.linalg",
            "sklearn.linear_model",
            "glitchtrace.audit.run",
        ):
            importlib.import_module(name)
        return "Python, pandas, Arrow, SciPy, scikit-learn, faiss"

    def torch() -> str:
        import torch

        return f"torch {torch.__version__}"

    def network() -> str:
        from glitchtrace.models.efficientnet_lite import load

        noise = np.random.default_rng(0).integers(0, 255, (25, 128, 128, 3), dtype=np.uint8)
        load("1", 128).embed(noise)
        return "EfficientNet-Lite1 and a batch of 25 pictures"

    def jury() -> str:
        from glitchtrace.audit.judgement import judge_by_jury
        from glitchtrace.audit.representation import Representation

        rng = np.random.default_rng(0)
        y = rng.integers(0, 10, 10_000)
        lines = (0.5 * rng.normal(size=(10, 192))[y] + rng.normal(size=(len(y), 192))).astype(np.float32)
        views = Representation(lines, None, "", (("penultimate", 0, 128), ("stage5", 128, 192)))
        judge_by_jury(views, y, 10, None, 0.1, 0)
        return "the jury, 10,000 rows of 192 features"

    lines = []
    for step in (libraries, torch, network, jury):
        with open("/proc/self/clear_refs", "w") as stream:
            stream.write("5")
        name = step()
        lines.append(
            {
                "step": name,
                "megabytes": held("VmRSS"),
                "of_files": held("RssFile"),
                "peak_megabytes": held("VmHWM"),
            }
        )
    pd.DataFrame(lines).round(0).astype({"megabytes": int, "of_files": int, "peak_megabytes": int}).to_csv(
        MEMORY, index=False
    )


def check() -> int:
    """Whether the committed tables keep their budgets; says what does not."""
    faults = []
    for form, lines in pd.read_csv(TABLE).groupby("form"):
        cost = lines.set_index("rows").cpu_ms_per_row
        largest = lines.loc[lines.rows.idxmax()]
        scale = largest.rows / 1e6
        if largest.wall_seconds > SECONDS * max(scale, 0.1) or largest.gigabytes > GIGABYTES:
            faults.append(
                f"{form}: {largest.wall_seconds} s, {largest.gigabytes} GB for {largest.rows:,} rows"
            )
        if largest.rows // 4 in cost.index and cost[largest.rows] > SLOPE * cost[largest.rows // 4]:
            faults.append(f"{form}: a row of {largest.rows:,} costs more than 1.3 times one of a quarter")
        if lines.page_megabytes.max() > PAGE or lines.paint_seconds.max() > PAINT:
            faults.append(f"{form}: a page of {lines.page_megabytes.max()} MB, {lines.paint_seconds.max()} s")
    for _, line in pd.read_csv(PICTURES).iterrows():
        if line.cpu_seconds > 150 or line.gigabytes > 1.5:
            faults.append(f"pictures: {line.cpu_seconds} CPU s, {line.gigabytes} GB")
        if line.wrong_of_first_450 < 405 or line.foreign_in_first_150 < 80:
            faults.append(f"pictures: {line.wrong_of_first_450} of 450, {line.foreign_in_first_150} of 100")
    print(*(faults or ["within the budget"]), sep="\n")
    return int(bool(faults))


def added(record: dict[str, object], table: Path) -> None:
    """Print a record and add it to a table."""
    print(record, flush=True)
    pd.DataFrame([record]).to_csv(table, mode="a", header=not table.is_file(), index=False)


if __name__ == "__main__":
    if sys.argv[1] == "check":
        raise SystemExit(check())
    if sys.argv[1] == "memory":
        memory()
    elif sys.argv[1] == "pictures":
        for given in sys.argv[2:]:
            added(pictures(int(given)), PICTURES)
    else:
        form = "csv" if "csv" in sys.argv else "parquet"
        for given in filter(str.isdigit, sys.argv[1:]):
            added(run(int(given), form), TABLE)
