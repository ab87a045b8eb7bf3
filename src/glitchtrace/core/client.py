"""The process of a job: sends the job to the worker of its run, waits and ends as the job did (see ``core.worker``).

There is one for each job, so it imports next to nothing: of ``socket`` the part without names for numbers, no pathlib,
no contextlib, and no Snakemake, since the job goes on as it came.
"""

from __future__ import annotations

import _socket as socket
import fcntl
import hashlib
import marshal
import os
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Folder of the workers of one Snakemake, ending in its process number; ``off`` for none.
ENVIRONMENT = "GLITCHTRACE_WORKER"
OFF = "off"
ACCEPTED, REFUSED = b"A", b"R"
START_SECONDS = 20.0
# Variables that differ from job to job and that no library reads while it is imported.
_INCIDENTAL = ("PWD", "OLDPWD", "SHLVL", "_", "SINGULARITY_BIND", "APPTAINER_BIND")
_LONGEST_ADDRESS = 100


def announce() -> None:
    """Name the folder of this Snakemake's workers in the environment of its jobs, unless workers are off."""
    if sys.platform == "linux" and os.environ.get(ENVIRONMENT) != OFF:
        import tempfile

        name = f"glitchtrace-{os.getuid()}-{os.getpid()}"
        os.environ[ENVIRONMENT] = os.path.join(tempfile.gettempdir(), name)


def run(job: Any) -> None:
    """Run a job of the workflow: in a child of the worker, or here where there is none.

    ``job``: the object that Snakemake gives a script, or what it is pickled to.  Ends the process with the job's exit
    status.
    """
    if not isinstance(job, bytes):
        import pickle

        job = pickle.dumps(job)
    status = _run_by_worker(job)
    if status is None:
        import pickle

        from glitchtrace.core import jobs

        jobs.run(pickle.loads(job))
    elif status:
        raise SystemExit(status)


def _run_by_worker(job: bytes) -> int | None:
    """The exit status of the job's child; None where the job has not been begun."""
    folder = os.environ.get(ENVIRONMENT, OFF)
    if folder == OFF or sys.platform != "linux":
        return None
    try:
        connection = connect(folder)
    except (OSError, ValueError):
        return None
    try:
        try:
            request = marshal.dumps(
                {
                    "job": job,
                    "environment": dict(os.environ),
                    "folder": os.getcwd(),
                    "cores": sorted(os.sched_getaffinity(0)),
                    "paths": sys.path,
                }
            )
            streams = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("3i", 0, 1, 2))
            connection.sendmsg([struct.pack("!Q", len(request))], [streams])
            connection.sendall(request)
            if connection.recv(1) != ACCEPTED:
                return None
        except OSError:
            return None
        answer = connection.recv(4, socket.MSG_WAITALL)
    finally:
        connection.close()
    if len(answer) < 4:
        _complain(job, "the worker ended before the job did; run the same command again")
        return 1
    status = int(struct.unpack("!i", answer)[0])
    if status < 0:
        import signal

        _complain(job, f"the job was ended by {signal.Signals(-status).name}")
        return 1
    return status


def _complain(job: bytes, fault: str) -> None:
    import pickle

    print(f"error in {pickle.loads(job).rule}: {fault}", file=sys.stderr)


def connect(folder: str) -> socket.socket:
    """A connection to the worker of this environment, which is started where there is none.

    Raises OSError or ValueError where there can be none.
    """
    try:
        os.mkdir(folder, mode=0o700)
    except FileExistsError:
        pass
    about = os.stat(folder)
    if about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise PermissionError(f"{folder} belongs to somebody else")
    name = os.path.join(folder, _signature())
    address = f"{name}.socket"
    if len(address) > _LONGEST_ADDRESS:
        raise ValueError(f"{address} is too long for the address of a socket")
    connection = _opened(address)
    if connection is None:
        with open(f"{name}.lock", "w", encoding="utf-8") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)  # one starts it, the others wait
            connection = _opened(address) or _started(address, f"{name}.log", folder.rpartition("-")[2])
    return connection


def _opened(address: str) -> socket.socket | None:
    """A connection to the socket, where one listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        return None
    return connection


def _started(address: str, log: str, served: str) -> socket.socket:
    """A connection to a new worker."""
    import subprocess

    with open(log, "ab") as stream:
        worker = subprocess.Popen(
            [sys.executable, "-m", "glitchtrace.core.worker", address, served],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            # Arrow's allocator would start a thread, beside which nothing can be forked.
            env={**os.environ, "JE_ARROW_MALLOC_CONF": "background_thread:false"},
        )
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and worker.poll() is None:
        connection = _opened(address)
        if connection is not None:
            return connection
        time.sleep(0.02)
    raise TimeoutError("the worker does not answer")


def _signature() -> str:
    """What libraries may read while they are imported: the interpreter and the environment, as a short hash."""
    kept = sorted((key, value) for key, value in os.environ.items() if key not in _INCIDENTAL)
    return hashlib.sha256(repr((sys.executable, kept)).encode(errors="surrogateescape")).hexdigest()[:16]
