"""What an audit has computed, kept so that it goes on where it stopped."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core import files, provenance
from glitchtrace.core.errors import GlitchtraceError

Made = tuple[dict[str, np.ndarray], dict[str, Any]]


class Store:
    """Stages of one audit in a folder: a stage is taken over where data, settings and code are the same."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def stage(self, name: str, given: Mapping[str, Any], make: Callable[..., Made], *code: str) -> Made:
        """What ``make(**given)`` returns, or what it returned before of equal values and the same code.

        ``given``: everything that the result depends on, see ``digest_of``.  ``code``: the roots of what makes it, see
        ``provenance.fingerprint``.
        """
        if self._folder is None:
            return make(**given)
        key = digest_of(provenance.fingerprint(*code), provenance.versions(), given)
        record, arrays = self._folder / f"{name}.json", self._folder / f"{name}.safetensors"
        if record.is_file() and arrays.is_file():
            try:
                found = files.read_record(record)
                if found.get("key") == key:
                    return files.read_tensors(arrays), found["value"]
            except (GlitchtraceError, KeyError):
                pass  # cut short or altered: made again
        record.unlink(missing_ok=True)
        made, value = make(**given)
        files.write_tensors(made, arrays)
        files.write_record({"key": key, "value": value}, record)
        return made, value


def digest_of(*parts: Any) -> str:
    """SHA-256, in hexadecimal, of arrays, of mappings and dataclasses of such parts, and of the text of all else."""
    total = hashlib.sha256()
    for part in parts:
        if is_dataclass(part):
            part = vars(part)
        if isinstance(part, Mapping):
            total.update(digest_of(*(each for item in part.items() for each in item)).encode())
        elif isinstance(part, np.ndarray) and part.dtype != object:
            total.update(str((part.shape, part.dtype)).encode())
            total.update(np.ascontiguousarray(part).view(np.uint8).data if part.size else b"")
        elif isinstance(part, np.ndarray):
            total.update("\x1f".join(map(str, part)).encode("utf-8", "surrogatepass"))
        else:
            total.update(str(part).encode("utf-8", "surrogatepass"))
        total.update(b"\x1e")
    return total.hexdigest()
