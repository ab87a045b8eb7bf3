"""What an audit has computed, kept so that it goes on where it stopped."""

import hashlib
import json
from collections.abc import Callable
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

    def stage(self, name: str, code: str, parts: Any, make: Callable[[], Made]) -> Made:
        """What ``make`` returns, or what it returned before from the same ``parts`` and ``code``.

        ``code``: ``module:function`` that makes it.
        """
        if self._folder is None:
            return make()
        content = json.dumps(
            [provenance.fingerprint(code), provenance.versions(), parts], sort_keys=True, default=str
        )
        key = hashlib.sha256(content.encode()).hexdigest()
        record, arrays = self._folder / f"{name}.json", self._folder / f"{name}.safetensors"
        if record.is_file() and arrays.is_file():
            try:
                found = files.read_record(record)
                if found.get("key") == key:
                    return files.read_tensors(arrays), found["value"]
            except (GlitchtraceError, KeyError):
                pass  # cut short or altered: made again
        record.unlink(missing_ok=True)
        made, value = make()
        files.write_tensors(made, arrays)
        files.write_record({"key": key, "value": value}, record)
        return made, value
