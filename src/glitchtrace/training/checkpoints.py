"""Checkpoints of one training: trained parameters and buffers after each epoch, in one safetensors file.

Tensors are named ``{epoch:03d}/{parameter or buffer}``; epochs are numbered from 1, and none is left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError


def write_checkpoints(checkpoints: Sequence[Mapping[str, np.ndarray]], target: str | Path) -> None:
    """Write the checkpoints of epochs 1, 2, …"""
    files.write_tensors(
        {
            f"{epoch:03d}/{name}": tensor
            for epoch, checkpoint in enumerate(checkpoints, start=1)
            for name, tensor in checkpoint.items()
        },
        target,
    )


def read_checkpoints(path: str | Path) -> list[dict[str, np.ndarray]]:
    """The checkpoints of epochs 1, 2, …, to be given to ``Network.restore``.

    Raises GlitchtraceError where the file cannot be read or does not hold the epochs from 1 on.
    """
    tensors = files.read_tensors(path)
    found: dict[str, dict[str, np.ndarray]] = {}
    for key in sorted(tensors):
        epoch, _, name = key.partition("/")
        found.setdefault(epoch, {})[name] = tensors[key]
    # As text 1000 stands before 101.
    expected = [f"{epoch:03d}" for epoch in range(1, len(found) + 1)]
    if not found or set(found) != set(expected):
        raise GlitchtraceError(
            f"{path} does not hold the checkpoints of epochs 1, 2, …; delete it and train the cell again"
        )
    return [found[epoch] for epoch in expected]
