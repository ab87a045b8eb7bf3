"""Jobs without the price of a process start: a worker imports once and forks a child for each job.

A job of the workflow computes for a tenth of a second and imports for two.  The first job of a run starts a worker,
one per environment; every job after it is a small client that sends its description and its standard streams, waits
and ends as the child did.  Each job still is a process of its own, with its own memory, log and exit status, and
writes the same bytes as a fresh process (tests/operations/test_reproducibility.py).  The worker imports in advance
what the children before needed, has a single thread, and ends with the Snakemake that it serves.

Where there can be no worker (another system than Linux, ``GLITCHTRACE_WORKER=off``, a worker that does not answer),
the job runs in its own process as ever.

What goes before a job's child must start fast: ``core.client`` imports next to nothing, this module the standard
library only.
"""

import contextlib
import gc
import importlib
import json
import marshal
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glitchtrace.core.client import ACCEPTED, REFUSED, START_SECONDS

# Packages that the worker imports in advance once a child has needed them; none starts a thread by that.
_SHARED = (
    "glitchtrace", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "torch", "torchvision", "timm", "captum",
    "matplotlib", "seaborn", "PIL", "safetensors", "threadpoolctl", "tqdm", "cleanlab", "pyod", "numba", "yaml",
    "joblib",
)  # fmt: skip
_WATCH_SECONDS = 0.5
_PIPE_BYTES = 65_536  # what a pipe holds that nobody reads yet


def told(names: list[str]) -> bytes:
    """Names of modules as they go through a pipe; all that a job imports are more than it holds."""
    return zlib.compress(json.dumps(names).encode())[:_PIPE_BYTES]


def heard(message: bytes) -> list[str]:
    """The names that ``told`` wrote; none where a child has ended without a word, or of more than a pipe holds."""
    try:
        names: list[str] = json.loads(zlib.decompress(message))
    except (zlib.error, ValueError):
        return []
    return names


# --- the worker ------------------------------------------------------------------------------------------------------


@dataclass
class _Child:
    """A running job: its client, and where it will say which modules it has imported."""

    client: socket.socket
    imported: int


class Worker:
    """Serves jobs at a socket until the process that it serves has ended."""

    def __init__(self, address: Path, served: int) -> None:
        self._address = address
        self._served = served
        self._began = _beginning(served)
        self._children: dict[int, _Child] = {}
        self._wanted: set[str] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def serve(self) -> None:
        """Answer clients; returns when the served process is gone and no job is left."""
        for name in ("glitchtrace.core.jobs", "snakemake.iocontainers"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        _read_once()
        waking, woken = socket.socketpair()
        waking.setblocking(False)
        woken.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        temporary = self._address.with_suffix(".new")
        self._listener.bind(str(temporary))
        self._listener.listen(128)
        temporary.rename(self._address)  # who sees it can connect
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(woken, selectors.EVENT_READ)
        while self._began is not None and _beginning(self._served) == self._began:
            for key, _ in self._selector.select(_WATCH_SECONDS):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is woken:
                    with contextlib.suppress(BlockingIOError):
                        while woken.recv(4096):
                            pass
                else:
                    self._lost(int(key.data))
            self._reap()
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        streams: list[int] = []
        try:
            client.settimeout(START_SECONDS)
            _, user, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            head, streams, _, _ = socket.recv_fds(client, 8, 3)
            request = (
                marshal.loads(_received(client, struct.unpack("!Q", head)[0]))
                if user == os.getuid()
                else None
            )
        except (OSError, struct.error, ValueError, TypeError, EOFError):
            request = None
        if request is None or not self._ready(request["job"]):
            with contextlib.suppress(OSError):
                client.sendall(REFUSED)
            client.close()
        else:
            self._begin(client, request, streams)
        for stream in streams:
            os.close(stream)

    def _ready(self, job: bytes) -> bool:
        """Import what the job needs, as far as it is known; False where the worker could not fork safely."""
        with contextlib.suppress(Exception):  # the job itself will say what is wrong
            self._wanted.add(dict(pickle.loads(job).params.items())["stage"].partition(":")[0])
        for name in sorted(self._wanted):
            if name not in sys.modules:
                with contextlib.suppress(Exception):  # the job itself will say what is wrong
                    importlib.import_module(name)
        self._wanted.clear()
        return len(list(Path("/proc/self/task").iterdir())) == 1

    def _begin(self, client: socket.socket, request: Mapping[str, Any], streams: Iterable[int]) -> None:
        gc.freeze()  # what is imported is no garbage: no child searches it, or copies its pages by searching
        client.settimeout(None)
        try:
            client.sendall(ACCEPTED)
        except OSError:
            client.close()
            return
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reading)
            self._child(request, list(streams), writing)
        os.close(writing)
        self._children[pid] = _Child(client, reading)
        self._selector.register(client, selectors.EVENT_READ, pid)

    def _child(self, request: Mapping[str, Any], streams: list[int], imported: int) -> None:
        """The job, in the child; never returns."""
        status = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for place, stream in enumerate(streams):
                os.dup2(stream, place)
            os.environ.clear()
            os.environ.update(request["environment"])
            os.chdir(request["folder"])
            os.sched_setaffinity(0, request["cores"])
            sys.path.extend(path for path in request["paths"] if path not in sys.path)
            known = set(sys.modules)
            from glitchtrace.core import jobs

            jobs.run(pickle.loads(request["job"]))
            new = [name for name in sys.modules if name not in known and name.partition(".")[0] in _SHARED]
            os.write(imported, told(new))
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Tell the clients of ended children how they ended."""
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            child = self._children.pop(pid)
            self._wanted.update(heard(os.read(child.imported, _PIPE_BYTES)))
            os.close(child.imported)
            self._selector.unregister(child.client)
            with contextlib.suppress(OSError):
                child.client.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
            child.client.close()

    def _lost(self, pid: int) -> None:
        """A client is gone (Snakemake was interrupted): its job ends, with all that it has started."""
        child = self._children.get(pid)
        if child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGKILL)


def _read_once() -> None:
    """Read what jobs ask for first: the cards of the components, versions of packages, fingerprints that are known."""
    with contextlib.suppress(Exception):  # the job itself will say what is wrong
        from glitchtrace.core import provenance, registry

        registry.kinds()
        provenance.versions()
        provenance.known()


def _received(client: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = client.recv(min(size - len(parts), 2**20))
        if not part:
            raise EOFError("the client is gone")
        parts += part
    return bytes(parts)


def _beginning(pid: int) -> str | None:
    """When a process began, which tells it from a later one of the same number; None where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def main() -> None:
    """Serve at the given address until the given process ends, then remove what lies there."""
    address, served = Path(sys.argv[1]), int(sys.argv[2])
    log = address.with_suffix(".log")
    try:
        Worker(address, served).serve()
        log.unlink(missing_ok=True)  # at most warnings of what was imported
    finally:
        for file in (address, address.with_suffix(".lock")):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            if log.exists() and not log.stat().st_size:
                log.unlink()
            address.parent.rmdir()


if __name__ == "__main__":
    # Under its own name, which children import.
    from glitchtrace.core.worker import main as serve

    serve()
