"""What cells that differ in labels alone leave to each other below ``<results>/shared`` while a run lasts.

It is a cache: named after all that the arrays depend on, removed when the run ends, and nothing but time depends on it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from glitchtrace.core import files, provenance
from glitchtrace.core.errors import GlitchtraceError

Arrays = tuple[np.ndarray, ...]


def shared(folder: Path | None, what: Callable[[], Mapping[str, Any]], make: Callable[[], Arrays]) -> Arrays:
    """What ``make`` returns, from the file of an earlier cell or made and put there; made where ``folder`` is None.

    ``what``: all that the arrays depend on beside the versions of libraries, as JSON.  Of several jobs that want them
    at a time one makes them and the others wait.
    """
    if folder is None:
        return make()
    file = folder / f"{digest({**what(), 'versions': provenance.versions()})}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with open(file.with_suffix(".lock"), "a", encoding="utf-8") as lock:
        if not locked(lock):
            return make()
        try:
            kept = files.read_tensors(file)
        except GlitchtraceError:  # not there, cut short or altered
            made = make()
            files.write_tensors({str(place): part for place, part in enumerate(made)}, file)
            return made
        return tuple(kept[str(place)] for place in range(len(kept)))


def locked(stream: IO[str]) -> bool:
    """Wait for the lock of a file open for writing, held until it is closed; False where there are no locks."""
    import fcntl  # the library can be imported where there is none

    try:
        fcntl.lockf(stream, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def digest(what: Mapping[str, Any]) -> str:
    """A name made of all that something depends on."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
