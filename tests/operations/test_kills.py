"""kill -9 at random times over a study, again and again: the same call ends with the bytes of an undisturbed run.

``GLITCHTRACE_KILLS=200 python -m pytest tests/operations/test_kills.py -s`` strikes 200 times and says what it hit.
"""

import collections
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Checkout, contents

KILLS = int(os.environ.get("GLITCHTRACE_KILLS", "50"))
# One of three strikes falls between the start and this many seconds later, mostly while the run is planned; the
# others so many seconds after its first job has begun.
PLANNING, WORKING = 4.0, 2.0


def started(checkout: Checkout, log: Path) -> subprocess.Popen[bytes]:
    with open(log, "wb") as output:
        return subprocess.Popen(
            checkout.command("all"),
            cwd=checkout.folder,
            env=checkout.environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def has_begun(log: Path) -> bool:
    """Whether a job of the run has started."""
    return any(line.startswith((b"rule ", b"localrule ")) for line in log.read_bytes().splitlines())


def unlock(folder: Path) -> None:
    """What ``snakemake --unlock`` does, without its three seconds of planning."""
    shutil.rmtree(folder / ".snakemake/locks", ignore_errors=True)


def begin_anew(folder: Path) -> None:
    for remains in ("results", ".snakemake"):
        shutil.rmtree(folder / remains, ignore_errors=True)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="kills a process group")
def test_kills_at_random_times_lose_nothing_and_change_nothing(
    finished: Checkout, copy: Checkout, record_property: Callable[[str, object], None]
) -> None:
    draw, expected = random.Random(0), contents(finished.folder)
    log = copy.folder / "run.log"
    begin_anew(copy.folder)
    kills, whole, struck = 0, 0, collections.Counter()
    while kills < KILLS:
        unlock(copy.folder)
        run = started(copy, log)
        working = draw.random() < 2 / 3
        while working and run.poll() is None and not has_begun(log):
            time.sleep(0.02)
        try:
            status = run.wait(draw.uniform(0, WORKING if working else PLANNING))
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            kills += 1
            struck["working" if has_begun(log) else "planning"] += 1
            found = contents(copy.folder)
            assert found == {path: expected.get(path) for path in found}, "a file that is there is whole"
            continue
        assert status == 0, log.read_text()
        assert contents(copy.folder) == expected
        whole += 1
        begin_anew(copy.folder)
    copy.run("--unlock")
    copy.run()
    assert contents(copy.folder) == expected
    assert copy.planned() == collections.Counter()
    assert not list((copy.folder / "results").rglob(".*.*")), "remains of a killed job"
    text = f"{kills} kills ({struck['working']} while jobs ran), {whole + 1} whole runs of equal bytes"
    record_property("kills", text)
    print(text)
