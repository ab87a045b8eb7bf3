"""Where networks run, and the global generators of that process."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from glitchtrace.core.errors import GlitchtraceError


def choose(device: str) -> torch.device:
    """The device behind ``cpu``, ``cuda`` or ``auto`` (the GPU where there is one).

    Raises GlitchtraceError for ``cuda`` without a usable GPU.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise GlitchtraceError("device: cuda, but torch finds no GPU; set device: cpu or auto")
    return torch.device(device)


@contextmanager
def global_generators_kept() -> Iterator[None]:
    """Leave the global generators of Python, NumPy and torch as they were: they are the caller's, not ours."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    started = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if started else ()):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
