"""What goes wrong in a long run, stage by stage: outcome, next command, and what is computed again.

Every case starts from a finished run of the smoke study in which the files of one job are missing, asks for these
files, and lets a fault strike.  Then the documented next command is run.  Each case notes one row of the table in
docs/faults.md (``make faults``).
"""

import collections
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import CELL_STAGES, Checkout, contents, started_jobs

from glitchtrace.core import client

FAULTS = str(Path(__file__).parents[1] / "helpers/faults")
STAGES = ("fetch_data", "prepare_data", "inject_glitch", *CELL_STAGES, "summarise_study", "plot_gain")
Note = Callable[..., None]


@pytest.fixture(scope="module")
def jobs(finished: Checkout) -> dict[str, list[str]]:
    return finished.jobs()


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Write one row of the table of faults into the result file of the tests."""

    def write(fault: str, stage: str, outcome: str, remedy: str, again: collections.Counter[str]) -> None:
        recomputed = ", ".join(f"{count} × {rule}" for rule, count in sorted(again.items())) or "none"
        record_property("fault", " | ".join((fault, stage, outcome, remedy, recomputed)))

    return write


def _mind_control_c() -> None:
    """A background job of a shell ignores Ctrl-C, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Case:
    """One job of a finished run that is to be made again, and a fault that strikes it."""

    def __init__(self, finished: Checkout, copy: Checkout, stage: str, files: list[str]) -> None:
        self.finished, self.copy, self.stage, self.files = finished, copy, stage, files
        self.target = next(file for file in files if not file.endswith(".json"))
        for file in files:
            (copy.folder / file).unlink()
        self.before = contents(copy.folder)

    def variables(self, fault: str) -> dict[str, str]:
        # Faults strike in the process of the script; the worker has tests of its own (tests/unit/test_worker.py).
        alone = {client.ENVIRONMENT: client.OFF}
        return {"PYTHONPATH": FAULTS, "GLITCHTRACE_TEST_FAULT": f"{self.stage}:{fault}", **alone}

    def run(self, fault: str) -> subprocess.CompletedProcess[str]:
        return self.copy.run(self.target, check=False, variables=self.variables(fault))

    def start(self, fault: str, *more: str, cores: int = 2) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.copy.command(self.target, *more, cores=cores),
            cwd=self.copy.folder,
            env=self.copy.environment(**self.variables(fault)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_mind_control_c,
        )

    def hold(self, *more: str, cores: int = 2) -> tuple[subprocess.Popen[str], Path]:
        """Start the run and wait until the job is about to put its first file in its place."""
        flag = self.copy.folder / "held"
        process = self.start(f"hold:{flag}", *more, cores=cores)
        wait_until(flag.exists, process)
        return process, flag

    def nothing_accepted(self) -> None:
        """No file of the job is in its place, and no other file has changed."""
        assert not [file for file in self.files if (self.copy.folder / file).exists()]
        assert contents(self.copy.folder) == self.before

    def recover(self) -> collections.Counter[str]:
        """The same call again: it makes the files as an undisturbed run does.  Returns the jobs it started."""
        again = self.copy.run(self.target)
        made = contents(self.copy.folder)
        assert made == {
            path: content for path, content in contents(self.finished.folder).items() if path in made
        }
        assert set(made) >= set(self.before)
        assert (self.copy.folder / self.target).exists()
        assert not list((self.copy.folder / "results").rglob(".*.*")), "remains of a killed job"
        return started_jobs(again)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.05)


@pytest.fixture
def case(
    request: pytest.FixtureRequest, finished: Checkout, copy: Checkout, jobs: dict[str, list[str]]
) -> Iterator[Case]:
    stage = request.param
    yield Case(finished, copy, stage, jobs[stage])
    shutil.rmtree(copy.folder)


each_stage = pytest.mark.parametrize("case", STAGES, indirect=True)


# --- the job dies, the workflow lives --------------------------------------------------------------------------


@each_stage
def test_a_killed_job(case: Case, note: Note) -> None:
    done = case.run("kill:")
    assert done.returncode
    case.nothing_accepted()
    again = case.recover()
    assert again == {case.stage: 1}
    note(
        "kill -9 of a job",
        case.stage,
        "the run ends with an error; no file of the job",
        "the same call",
        again,
    )


@each_stage
def test_a_full_disk_by_injection(case: Case, note: Note) -> None:
    done = case.run("full:")
    output = done.stdout + done.stderr
    assert done.returncode
    line = next(line for line in output.splitlines() if line.startswith(f"error in {case.stage}:"))
    assert "no space left for results/" in line
    assert "Traceback" not in output
    case.nothing_accepted()
    again = case.recover()
    assert again == {case.stage: 1}
    note(
        "disk full (injected)", case.stage, "one line; no file of the job", "free room, the same call", again
    )


# --- the workflow is stopped ------------------------------------------------------------------------------------


@each_stage
def test_a_killed_workflow(case: Case, note: Note) -> None:
    process, _ = case.hold()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    case.nothing_accepted()
    refused = case.copy.run(case.target, check=False)
    assert refused.returncode
    assert "--unlock" in refused.stdout + refused.stderr
    case.copy.run("--unlock")
    again = case.recover()
    assert again == {case.stage: 1}
    note(
        "kill -9 of the workflow",
        case.stage,
        "folder locked; no file of the job",
        "`--unlock`, the same call",
        again,
    )


@each_stage
def test_control_c(case: Case, note: Note) -> None:
    process, flag = case.hold()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode
    flag.unlink(missing_ok=True)
    case.nothing_accepted()
    again = case.recover()
    assert again == {case.stage: 1}
    note("Ctrl-C", case.stage, "the job is stopped; no file of it", "the same call", again)


@each_stage
def test_sigterm(case: Case, jobs: dict[str, list[str]], note: Note) -> None:
    others = jobs["plot_history"]
    for file in others:
        (case.copy.folder / file).unlink()
    case.before = contents(case.copy.folder)
    # One core: the other job waits while this one is held.
    process, flag = case.hold(others[0], "--prioritize", case.target, cores=1)
    process.terminate()
    time.sleep(1)
    flag.unlink()
    output, _ = process.communicate(timeout=300)
    assert process.returncode > 0, "it ends by itself, and says that there is work left"
    assert started_jobs(subprocess.CompletedProcess([], 0, output, "")) == {case.stage: 1}
    assert not [file for file in others if (case.copy.folder / file).exists()]
    again = case.recover()
    assert again == {}
    note(
        "SIGTERM of the workflow",
        case.stage,
        "the running job is finished, no other starts",
        "the same call",
        again,
    )


@pytest.mark.parametrize("case", ["train"], indirect=True)
def test_a_killed_workflow_whose_job_lives_on(case: Case, note: Note) -> None:
    process, flag = case.hold()
    process.kill()
    flag.unlink()
    # The job holds the workflow's output open until it ends.
    process.communicate(timeout=300)
    assert (case.copy.folder / case.files[-1]).exists()
    case.copy.run("--unlock")
    again = case.recover()
    assert again == {case.stage: 1}, "what nobody saw the end of is not trusted"
    note(
        "kill -9 of the workflow, its job lives on",
        case.stage,
        "folder locked; files whole, but not trusted",
        "`--unlock`, the same call",
        again,
    )


@pytest.mark.parametrize("case", ["fetch_data", "train"], indirect=True)
def test_a_second_workflow_on_one_folder(case: Case, note: Note) -> None:
    process, flag = case.hold()
    second = case.copy.run(case.target, check=False)
    assert second.returncode
    assert "cannot be locked" in second.stdout + second.stderr
    flag.unlink()
    process.communicate(timeout=300)
    assert process.returncode == 0
    again = case.recover()
    assert again == {}
    note(
        "a second workflow on one folder",
        case.stage,
        "the second is refused, the first goes on",
        "none",
        again,
    )


# --- a small disk that is really full ------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB in memory; only root may make one (the injected fault above runs everywhere)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here; the injected full disk is tested in its place")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "case",
    ["fetch_data", "train", "compute_influence", "retrain", "summarise_study", "plot_gain"],
    indirect=True,
)
def test_a_full_disk(case: Case, disk: Path, note: Note) -> None:
    results = case.copy.folder / "results"
    shutil.copytree(results, disk / "results")
    shutil.rmtree(results)
    results.symlink_to(disk / "results")
    free = os.statvfs(disk)
    ballast = disk / "ballast"
    # One page is left, for the log of the job.
    ballast.write_bytes(b"\0" * ((free.f_bavail - 1) * free.f_frsize))
    done = case.copy.run(case.target, check=False)
    output = done.stdout + done.stderr
    assert done.returncode
    assert f"error in {case.stage}: no space left for results/" in output
    assert "Traceback" not in output
    case.nothing_accepted()
    ballast.unlink()
    again = case.recover()
    assert again == {case.stage: 1}
    note("disk full (64 MB)", case.stage, "one line; no file of the job", "free room, the same call", again)


# --- damaged files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("producer", "name", "reader"),
    [
        ("fetch_data", "features.npy", "train"),
        ("fetch_data", "labels.npy", "prepare_data"),
        ("fetch_data", "source.json", "prepare_data"),
        ("prepare_data", "split.parquet", "inject_glitch"),
        ("inject_glitch", "glitch.parquet", "train"),
        ("train", "checkpoints.safetensors", "retrain"),
        ("train", "factors.safetensors", "profile_influence"),
        ("train", "history.parquet", "evaluate_cell"),
        ("train", "train.json", "evaluate_cell"),
        ("profile_influence", "profile.safetensors", "detect"),
        ("detect", "scores.parquet", "evaluate_cell"),
        ("evaluate_cell", "metrics.parquet", "summarise_dataset"),
        ("evaluate_cell", "cost.parquet", "summarise_dataset"),
        ("repair_cell", "repaired.parquet", "retrain"),
        ("retrain", "gain.parquet", "summarise_dataset_gain"),
        ("summarise_dataset", "summary.parquet", "summarise_study"),
    ],
)
def test_a_damaged_file(
    producer: str,
    name: str,
    reader: str,
    finished: Checkout,
    copy: Checkout,
    jobs: dict[str, list[str]],
    note: Note,
) -> None:
    file = next(file for file in jobs[producer] if Path(file).name == name)
    target = next(file for file in jobs[reader] if not file.endswith(".json"))
    damaged = copy.folder / file
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    before = contents(copy.folder)
    done = copy.run(target, "--forcerun", reader, check=False)
    output = done.stdout + done.stderr
    assert done.returncode
    line = next(line for line in output.splitlines() if line.startswith(f"error in {reader}:"))
    assert file in line
    assert "delete it and run the same command again" in line
    assert "Traceback" not in output
    readers = {str(Path(path)) for path in jobs[reader]}
    after = contents(copy.folder)
    assert after == {path: content for path, content in before.items() if path not in readers}
    damaged.unlink()
    again = copy.run(target)
    made = contents(copy.folder)
    assert made == {path: content for path, content in contents(finished.folder).items() if path in made}
    again_jobs = started_jobs(again)
    assert again_jobs[producer] == again_jobs[reader] == 1
    note(
        f"{name} truncated",
        reader,
        "one line that names the file",
        "`rm` the file, the same call",
        again_jobs,
    )
    shutil.rmtree(copy.folder)
