"""Breaks one job of the workflow where a test wants it; found by Python through the PYTHONPATH of the test alone.

``GLITCHTRACE_TEST_FAULT`` is ``stage:fault:argument``.  The fault strikes when the job is about to move its first
finished file to its place (the worst moment: all of it is written, nothing is in place):

``kill``    the job dies as by kill -9;
``hold``    the job makes the file ``argument`` and waits until it is gone;
``full``    the disk is full when the job opens its first temporary file;
``hog``     the job takes ``argument`` MiB of memory at its start and keeps them for a while.
"""

import errno
import os
import pickle
import signal
import sys
import time


def _strike(fault: str, argument: str) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    with open(argument, "w"):
        pass
    while os.path.exists(argument):  # noqa: PTH110
        time.sleep(0.05)


def _rule() -> str | None:
    """The rule of this process: the one script of the workflow holds its job, pickled or not, as ``snakemake``."""
    job = getattr(sys.modules.get("__main__"), "snakemake", None)
    return getattr(pickle.loads(job) if isinstance(job, bytes) else job, "rule", None)


def _install(stage: str, fault: str, argument: str) -> None:
    struck = asking = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal struck, asking
        if event not in ("tempfile.mkstemp", "os.rename", "import") or struck or asking:
            return
        asking = True  # unpickling imports
        rule, asking = _rule(), False
        if rule is None:
            return
        if rule != stage:
            struck = True
            return
        if fault == "full" and event == "tempfile.mkstemp":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault in ("kill", "hold") and event == "os.rename" and "results" in str(arguments[1]):
            struck = True
            _strike(fault, argument)
        if fault == "hog":
            struck = True
            memory = bytearray(os.urandom(1 << 20)) * int(argument)
            time.sleep(12)  # the scheduler looks every few seconds
            del memory

    sys.addaudithook(hook)


_stage, _, _rest = os.environ.get("GLITCHTRACE_TEST_FAULT", "").partition(":")
_fault, _, _argument = _rest.partition(":")
if _stage and any(item.endswith(".run_stage.py") for item in sys.orig_argv):
    _install(_stage, _fault, _argument)
