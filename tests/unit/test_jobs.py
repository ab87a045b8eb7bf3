"""The frame around jobs: the arrays of a source are those that its job wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from glitchtrace.core import files, jobs

FOLDER = Path("results/sources/toy")
# What the stage of the second job was called with.
GOT: list[dict[str, Any]] = []


def job(rule: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> SimpleNamespace:
    """What the script of Snakemake sees of its job."""
    log = Path("results/logs") / f"{rule}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return SimpleNamespace(
        rule=rule,
        input=inputs,
        output=outputs,
        params={"stage": "tests:stage"},
        wildcards={},
        threads=1,
        log=[str(log)],
    )


def fetch(*, features: str, labels: str) -> None:
    files.write_npy(np.arange(12, dtype=np.float32).reshape(4, 3), features)
    files.write_npy(np.arange(4), labels)


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of a source that a job has written below the current folder."""
    monkeypatch.chdir(tmp_path)
    outputs = {"features": str(FOLDER / "features.npy"), "labels": str(FOLDER / "labels.npy")}
    monkeypatch.setattr(jobs, "stage_function", {"tests:stage": fetch}.get)
    jobs.run(job("fetch_data", {}, {**outputs, "record": str(FOLDER / "fetch_data.json")}))
    monkeypatch.setattr(jobs, "stage_function", lambda stage: lambda **arguments: GOT.append(arguments))
    return outputs


def read(fetched: dict[str, str]) -> list[Any]:
    """Run a job that is given the features in a list, as for cells of several sources, and return what it got."""
    GOT.clear()
    inputs = {"features": [fetched["features"]], "labels": fetched["labels"]}
    jobs.run(job("train", inputs, {}))
    return list(GOT)


def test_whole_arrays_are_given_to_the_job(fetched: dict[str, str]) -> None:
    assert set(json.loads((FOLDER / "fetch_data.json").read_text())["arrays"]) == {
        "features.npy",
        "labels.npy",
    }
    assert len(read(fetched)) == 1


@pytest.mark.parametrize("name", ["features", "labels"])
def test_one_altered_bit_of_an_array_stops_the_job_in_one_line(
    name: str, fetched: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(fetched[name])
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(SystemExit):
        read(fetched)
    line = capsys.readouterr().err
    assert line.startswith(f"error in train: {file} has changed since it was written")
    assert "delete it and run the same command again" in line
    assert len(line.splitlines()) == 1


def test_an_array_above_the_limit_or_of_an_older_record_is_not_checked(
    fetched: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, record = Path(fetched["features"]), FOLDER / "fetch_data.json"
    files.write_npy(np.zeros((4, 3), dtype=np.float32), file)
    with monkeypatch.context() as lower:
        lower.setattr(jobs, "_CHECKED_BYTES", 100)
        assert len(read(fetched)) == 1
    old = files.read_record(record)
    del old["arrays"]
    files.write_record(old, record)
    assert len(read(fetched)) == 1


@pytest.mark.parametrize(("cores", "declared", "refused"), [(1, 2, True), (2, 2, False), (3, 2, False)])
def test_a_job_on_fewer_cores_than_it_declares_is_refused_before_its_stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cores: int,
    declared: int,
    refused: bool,
) -> None:
    """Numbers depend on the number of threads."""
    monkeypatch.chdir(tmp_path)
    called = []
    monkeypatch.setattr(jobs, "stage_function", lambda stage: lambda: called.append(stage))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    asked = job("train", {}, {})
    asked.threads = declared
    if refused:
        with pytest.raises(SystemExit):
            jobs.run(asked)
        assert "declares 2 threads but may run on 1 cores only" in capsys.readouterr().err
    else:
        jobs.run(asked)
    assert bool(called) is not refused


def test_the_peak_of_a_job_is_its_own_whatever_its_parent_has_held(tmp_path: Path) -> None:
    """Both ways in which a job begins: a process of its own, and a child of the worker."""
    program = """
import os, subprocess, sys
from glitchtrace.core.jobs import peak_kib
large = b"x" * (400 << 20)
print(subprocess.run([sys.executable, "-c", "from glitchtrace.core.jobs import peak_kib; print(peak_kib())"],
                     capture_output=True, text=True, check=True).stdout.strip())
print(peak_kib(), flush=True)
del large
if not os.fork():
    print(peak_kib(), flush=True)
    os._exit(0)
os.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    fresh, parent, forked = map(int, done.stdout.split())
    assert parent > 400 << 10
    assert max(fresh, forked) < 200 << 10
