"""One finished smoke run that all operations tests share: they change copies of it."""

import fcntl
from pathlib import Path

import pytest
from running import Checkout, copy_of_the_checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the repository in which the smoke study has run to its end, one for all test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    with open(shared / "smoke.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "smoke.done").exists():
            Checkout(copy_of_the_checkout(shared / "smoke")).run()
            (shared / "smoke.done").touch()
    return Checkout(shared / "smoke")


@pytest.fixture
def copy(finished: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished run that a test may change."""
    return finished.copy(tmp_path / "run")
