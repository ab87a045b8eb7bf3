"""The worker of jobs: a child per job, whose streams, status and end are the job's own."""

import marshal
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from glitchtrace.core import client, worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")

# What a script of Snakemake does: one job, described on the command line.
CLIENT = """
import sys
from types import SimpleNamespace
from glitchtrace.core.client import run
stage, log, parameters = sys.argv[1], sys.argv[2], eval(sys.argv[3])
run(SimpleNamespace(rule="tried", input={}, output={}, params={"stage": stage, **parameters}, wildcards={},
    threads=1, log=[log]))
"""
# Stages that the jobs run: a module of its own, found by its path.
STAGES = """
import os, sys, time
from pathlib import Path
from glitchtrace.core.errors import GlitchtraceError

def note(target):
    Path(target).write_text(f"{os.getpid()} {os.getppid()} {os.environ.get('COLOUR')} {os.getcwd()}")

def refuse():
    raise GlitchtraceError("rows: 3 are missing; add them")

def crash():
    raise RuntimeError("a defect")

def kill_itself():
    os.kill(os.getpid(), 9)

def linger(target):
    Path(target).write_text(str(os.getpid()))
    time.sleep(60)

"""


class Served:
    """A process that stands for Snakemake: its number names the folder of the workers."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._environment = environment

    def start(self, stage: str, *, cwd: Path | None = None, **parameters: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CLIENT, stage, str(self.folder / "log"), repr(parameters)],
            cwd=cwd or self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, stage: str, **options: object) -> tuple[int, str]:
        started = self.start(stage, **options)  # type: ignore[arg-type]
        _, errors = started.communicate(timeout=60)
        return started.returncode, errors


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "stages.py").write_text(STAGES)
    with subprocess.Popen(["sleep", "120"]) as snakemake:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            "COLOUR": "green",
            client.ENVIRONMENT: f"/tmp/glitchtrace-{os.getuid()}-{snakemake.pid}",
        }
        yield Served(tmp_path, environment)
        snakemake.kill()


def until(met: object, seconds: float = 20) -> bool:
    """Whether a condition is met before the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if met():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_jobs_are_children_of_one_worker_in_the_folder_and_environment_of_their_clients(
    served: Served,
) -> None:
    found = []
    for name in ("first", "second"):
        assert served.run("stages:note", target=str(served.folder / name)) == (0, "")
        found.append((served.folder / name).read_text().split())
    (first, second) = found
    assert first[0] != second[0]
    assert first[1] == second[1]
    assert first[2:] == ["green", str(served.folder)]


def test_bad_input_is_one_line_and_a_defect_a_traceback_as_in_a_process_of_its_own(served: Served) -> None:
    assert served.run("stages:refuse") == (1, "error in tried: rows: 3 are missing; add them\n")
    status, _ = served.run("stages:crash")
    assert status == 1
    assert "RuntimeError: a defect" in (served.folder / "log").read_text()
    assert served.run("stages:kill_itself") == (1, "error in tried: the job was ended by SIGKILL\n")
    assert served.run("stages:note", target=str(served.folder / "after"))[0] == 0


def test_a_job_ends_with_its_client(served: Served) -> None:
    target = served.folder / "pid"
    started = served.start("stages:linger", target=str(target))
    assert until(lambda: target.exists() and target.read_text())
    pid = int(target.read_text())
    started.kill()
    started.communicate()
    assert until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_worker_ends_with_the_process_that_it_serves_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "stages.py").write_text(STAGES)
    with subprocess.Popen(["sleep", "120"]) as snakemake:
        folder = Path(f"/tmp/glitchtrace-{os.getuid()}-{snakemake.pid}")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            client.ENVIRONMENT: str(folder),
        }
        served = Served(tmp_path, environment)
        assert served.run("stages:note", target=str(tmp_path / "note"))[0] == 0
        parent = int((tmp_path / "note").read_text().split()[1])
        assert folder.is_dir()
        snakemake.kill()
    assert until(lambda: not Path(f"/proc/{parent}").exists())
    assert until(lambda: not folder.exists())


@pytest.mark.parametrize("value", [client.OFF, "/tmp/" + "long" * 30, "/proc/no-place"])
def test_a_job_runs_by_itself_where_there_is_no_worker(value: str, served: Served) -> None:
    served._environment[client.ENVIRONMENT] = value
    started = served.start("stages:note", target=str(served.folder / "note"))
    assert started.wait(60) == 0
    assert (served.folder / "note").read_text().split()[0] == str(started.pid)
    started.communicate()


def test_another_users_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        client.connect(str(tmp_path))


def test_a_worker_with_threads_refuses_to_fork(tmp_path: Path) -> None:
    address = tmp_path / "x.socket"
    code = (
        "import threading, time, sys; from pathlib import Path; from glitchtrace.core import worker;"
        "threading.Thread(target=time.sleep, args=(30,), daemon=True).start();"
        f"worker.Worker(Path({str(address)!r}), {os.getpid()}).serve()"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as running:
        assert until(address.exists)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(address))
            request = marshal.dumps({"job": b"no pickle"})
            socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
            connection.sendall(request)
            assert connection.recv(1) == client.REFUSED
        running.send_signal(signal.SIGKILL)


def test_clients_that_go_away_leave_nothing_open(tmp_path: Path) -> None:
    address = tmp_path / "x.socket"
    code = (
        "from pathlib import Path; from glitchtrace.core import worker;"
        f"worker.Worker(Path({str(address)!r}), {os.getpid()}).serve()"
    )
    environment = {**os.environ, "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    request = marshal.dumps({"job": b"no pickle"})

    def send(connection: socket.socket, content: bytes) -> None:
        connection.connect(str(address))
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)

    with subprocess.Popen([sys.executable, "-c", code], env=environment) as running:

        def files() -> int:
            return len(list(Path(f"/proc/{running.pid}/fd").iterdir()))

        assert until(address.exists)
        before = files()
        running.send_signal(signal.SIGSTOP)  # it sees these clients when they are gone
        for content in (request[:5], request):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                send(connection, content)
        running.send_signal(signal.SIGCONT)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            send(connection, request[:5])
            refused = connection.recv(1) == client.REFUSED
        closed = until(lambda: files() == before, 5)
        running.send_signal(signal.SIGKILL)
    assert refused
    assert closed


def test_the_names_of_all_that_a_job_imports_come_through_the_pipe() -> None:
    names = [f"torch._dynamo.variables.module_{number}" for number in range(5000)]  # 220 kB as they are
    assert worker.heard(worker.told(names)) == names
    assert worker.heard(b"") == []
    assert worker.heard(worker.told(names)[:-1]) == []
