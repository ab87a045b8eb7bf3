"""A real Slurm cluster on this machine: the profiles as a user gives them, byte for byte the results of a local run."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import ROOT, Checkout, contents, copy_of_the_checkout, started_jobs

TOOL = ROOT.parent / "shared/tools/local-slurm"
FAULTS = str(ROOT / "tests/helpers/faults")
# What a machine of its own needs: no accounts, and answers at once.
QUICK = ["--latency-wait", "5", "--seconds-between-status-checks", "2"]
SLURM = [
    "--profile",
    "profiles/slurm",
    "--slurm-no-account",
    "--slurm-init-seconds-before-status-checks",
    "2",
    *QUICK,
]
SHORT = ["--profile", "profiles/slurm_short", *QUICK]
GENERIC = ["--profile", "profiles/cluster_generic", *QUICK]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables by which the commands of Slurm find a cluster that lives as long as these tests."""
    if not TOOL.exists():
        pytest.skip("local-slurm is not at ../shared/tools: no cluster to submit to")
    # Every test process has a cluster of its own, on ports of its own.
    folder = Path(f"/tmp/glitchtrace-slurm-{os.getpid()}")
    tool = [str(TOOL), "-d", str(folder)]
    environment = {**os.environ, "LOCAL_SLURM_PORT": str(free_ports())}
    started = subprocess.run([*tool, "start"], capture_output=True, text=True, check=False, env=environment)
    if started.returncode:
        pytest.skip(
            f"Slurm does not start here: {(started.stderr.strip() or 'no reason given').splitlines()[-1]}"
        )
    yield {"SLURM_CONF": str(folder / "etc/slurm.conf"), "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    subprocess.run([*tool, "purge"], capture_output=True, check=True)


def free_ports() -> int:
    """The first of the ports of a cluster, all of which are free: the next such range from one of this process's."""
    for offset in range(500):
        first = 20000 + 20 * ((os.getpid() + offset) % 500)
        if all(is_free(port) for port in range(first, first + 11)):
            return first
    pytest.skip("there are no 11 free ports in a row between 20000 and 30000 for a cluster")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def test_a_taken_port_moves_the_cluster_to_the_next_range() -> None:
    first = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 3))
        taken.listen()
        other = free_ports()
    assert not set(range(other, other + 11)) & {first + 3}


def known_jobs(cluster: dict[str, str]) -> dict[str, dict[str, str]]:
    """Job number -> the attributes of the jobs that the scheduler knows now."""
    command = ["scontrol", "show", "job", "--oneliner"]
    done = subprocess.run(command, env={**os.environ, **cluster}, capture_output=True, text=True, check=True)
    rows = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in done.stdout.splitlines()]
    return {row["JobId"]: row for row in rows if "JobId" in row}


def start(checkout: Checkout, cluster: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A run that goes on beside the test; what it says goes to a file, which never fills up as a pipe does."""
    with open(log, "wb") as output:
        return subprocess.Popen(
            checkout.command(*SLURM, cores=16),
            cwd=checkout.folder,
            env=checkout.environment(**cluster),
            stdout=output,
            stderr=output,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
        )


def without_cell(
    finished: Checkout, folder: Path, stages: list[str]
) -> tuple[Checkout, dict[str, list[str]]]:
    """A copy of the finished run in which one job of each stage is to be made again, and its files."""
    jobs = finished.jobs()
    checkout = finished.copy(folder)
    for stage in stages:
        for file in jobs[stage]:
            (checkout.folder / file).unlink()
    return checkout, jobs


def test_the_smoke_grid_submitted_interrupted_and_resumed(
    finished: Checkout, cluster: dict[str, str], tmp_path: Path
) -> None:
    checkout = Checkout(copy_of_the_checkout(tmp_path / "run"))
    log = tmp_path / "run.log"
    first = start(checkout, cluster, log)
    seen: dict[str, dict[str, str]] = {}
    deadline = time.monotonic() + 600
    while not list(checkout.folder.glob("results/wine/**/glitch.parquet")):
        assert first.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        seen |= known_jobs(cluster)
        time.sleep(1)
    first.send_signal(signal.SIGINT)
    assert first.wait(300), log.read_text()
    assert not [job for job in known_jobs(cluster).values() if job["JobState"] in ("RUNNING", "PENDING")]
    whole = {path: file.stat().st_mtime_ns for path, file in fetched(checkout).items()}
    assert whole

    checkout.run("--unlock", check=False)
    second = start(checkout, cluster, log)
    while second.poll() is None:
        seen |= known_jobs(cluster)
        time.sleep(2)
    assert second.returncode == 0, log.read_text()
    assert contents(checkout.folder) == contents(finished.folder)
    assert {
        path: file.stat().st_mtime_ns for path, file in fetched(checkout).items() if path in whole
    } == whole
    assert checkout.planned() == {}

    training = [job for job in seen.values() if "rule_train" in job.get("Comment", "")]
    assert training
    for job in training:
        assert job["NumCPUs"] == "1"
        assert re.fullmatch(r"13\d\dM", job["MinMemoryNode"]), job["MinMemoryNode"]
        # An hour, and the minute that so small a training is given.
        assert job["TimeLimit"] == "01:01:00"


def fetched(checkout: Checkout) -> dict[str, Path]:
    """The sources that are whole: with the record that is written last."""
    return {path.parent.name: path for path in checkout.folder.glob("results/sources/*/fetch_data.json")}


# Above the memory of the first attempt by itself (1.3 GB) and, with torch beside it, below that of the second; above
# that of the third (3.9 GB).  Nothing may hang on what else the job holds when the scheduler looks.
@pytest.mark.parametrize(("megabytes", "attempts"), [(1700, 2), (6000, 3)])
def test_a_job_out_of_memory_is_submitted_again_with_more_and_then_reported(
    megabytes: int, attempts: int, finished: Checkout, cluster: dict[str, str], tmp_path: Path
) -> None:
    checkout, jobs = without_cell(finished, tmp_path / "run", ["train"])
    target = next(file for file in jobs["train"] if file.endswith("checkpoints.safetensors"))
    before = set(known_jobs(cluster))
    variables = {**cluster, "PYTHONPATH": FAULTS, "GLITCHTRACE_TEST_FAULT": f"train:hog:{megabytes}"}
    variables["GLITCHTRACE_WORKER"] = "off"
    done = checkout.run(target, *SLURM, check=False, variables=variables, cores=16)
    output = done.stdout + done.stderr
    after = known_jobs(cluster)
    submitted = [after[number] for number in sorted(after.keys() - before, key=int)]
    memory = [int(job["MinMemoryNode"].rstrip("M")) for job in submitted]
    assert memory == [memory[0] * attempt for attempt in range(1, attempts + 1)], output
    if attempts == 2:
        assert done.returncode == 0, output
        made = contents(checkout.folder)
        assert made == contents(finished.folder)
    else:
        assert done.returncode
        assert "Error in rule train" in output
        assert not (checkout.folder / target).exists()
    shutil.rmtree(checkout.folder)


def test_the_generic_profile_submits_with_sbatch(
    finished: Checkout, cluster: dict[str, str], tmp_path: Path
) -> None:
    stages = ["profile_influence", "detect"]
    checkout, jobs = without_cell(finished, tmp_path / "run", stages)
    target = next(file for file in jobs["detect"] if file.endswith("scores.parquet"))
    done = checkout.run(target, *GENERIC, variables=cluster, cores=16)
    assert started_jobs(done) == dict.fromkeys(stages, 1)
    assert contents(checkout.folder) == contents(finished.folder)
    names = [job["JobName"] for job in known_jobs(cluster).values()]
    assert set(stages) <= set(names)


def test_short_cells_share_a_submission(finished: Checkout, cluster: dict[str, str], tmp_path: Path) -> None:
    before = known_jobs(cluster).keys()
    checkout = Checkout(copy_of_the_checkout(tmp_path / "run"))
    checkout.run(*SHORT, "--resources", "mem_mb=8000", variables=cluster, cores=2)
    submitted = [job["JobName"] for number, job in known_jobs(cluster).items() if number not in before]
    # The sources are fetched one by one; all cells, and all that is made of them, are a submission each.
    assert sorted(submitted) == ["GROUP", "GROUP", "fetch_data", "fetch_data"]
    assert contents(checkout.folder) == contents(finished.folder)


def test_the_generic_profile_reports_a_job_that_dies(
    finished: Checkout, cluster: dict[str, str], tmp_path: Path
) -> None:
    checkout, jobs = without_cell(finished, tmp_path / "run", ["detect"])
    target = next(file for file in jobs["detect"] if file.endswith("scores.parquet"))
    variables = {**cluster, "PYTHONPATH": FAULTS, "GLITCHTRACE_TEST_FAULT": "detect:kill:"}
    variables["GLITCHTRACE_WORKER"] = "off"
    done = checkout.run(target, *GENERIC, "--retries", "0", check=False, variables=variables, cores=16)
    assert done.returncode
    assert "Error in rule detect" in done.stdout + done.stderr
    assert not (checkout.folder / target).exists()
