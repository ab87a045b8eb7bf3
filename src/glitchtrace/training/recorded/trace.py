"""The record of one training: all that is needed to do it again, without a random number.

``trace.safetensors`` holds the batches, rates and augmentation seeds of every step and the parameters before
the first step and after each epoch; ``snapshots.npy``, where it is wanted, the parameters before each step,
one row of P values per step, memory-mapped.  A row's CRC-32 stands in the trace, so that snapshots of another
training, altered or cut short are found out on reading.  Source:
docs/methods/sgd-influence.md#recorded-training.
"""

import json
import math
import mmap
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError

_ARRAYS = ("batches", "rates", "seeds", "initial", "epoch_states", "checksums")


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the tensors that make up one flat state: trained parameters, then buffers."""

    shapes: Mapping[str, tuple[int, ...]]
    parameters: int  # how many of the values are trained

    @property
    def width(self) -> int:
        """Number of values of a state."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def flatten(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """One state (width,) from tensors by name."""
        return np.concatenate([np.ravel(tensors[name]) for name in self.shapes])

    def split(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Tensors by name, as views of one state (width,)."""
        found, start = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            found[name] = state[start : start + size].reshape(shape)
            start += size
        return found


@dataclass(frozen=True)
class Plan:
    """What a training does, step by step.

    ``batches`` (T, B) int32: positions of the samples of each step, padded with −1; ``rates`` (T,) float64;
    ``seeds`` (T, B) int64: one augmentation seed per sample; ``epochs``: E, where T = E·S; ``l2``: α.
    """

    batches: np.ndarray
    rates: np.ndarray
    seeds: np.ndarray
    epochs: int
    l2: float

    @property
    def steps(self) -> int:
        """T, the number of steps."""
        return len(self.batches)

    @property
    def steps_per_epoch(self) -> int:
        """S."""
        return self.steps // self.epochs

    def step(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and augmentation seeds of the samples of one step, both (b_t,)."""
        size = int((self.batches[number] >= 0).sum())
        return self.batches[number, :size], self.seeds[number, :size]


@dataclass(frozen=True)
class Trace(Plan):
    """A plan that has been carried out.

    ``initial`` (width,) and ``epoch_states`` (E, width): states before the first step and after each epoch;
    ``checksums`` (T,) uint32: CRC-32 of the states before the steps from ``first_snapshot`` on, those that
    the snapshots hold.
    """

    initial: np.ndarray
    epoch_states: np.ndarray
    checksums: np.ndarray
    first_snapshot: int
    layout: Layout

    @property
    def final(self) -> np.ndarray:
        """The state after the last step."""
        result: np.ndarray = self.epoch_states[-1]
        return result

    def start_of(self, epoch: int) -> np.ndarray:
        """The state before an epoch, 0 … E−1."""
        return self.initial if epoch == 0 else self.epoch_states[epoch - 1]

    @property
    def last_movement(self) -> float:
        """‖θ_T − θ_start of last epoch‖ / ‖θ_T‖ over the trained parameters.

        Where it is large, the final parameters stand badly for those of the last epoch's steps.
        """
        count = self.layout.parameters
        last, before = (
            state[:count].astype(np.float64) for state in (self.final, self.start_of(self.epochs - 1))
        )
        return float(np.linalg.norm(last - before) / np.linalg.norm(last))


def checksum(state: np.ndarray) -> int:
    """CRC-32 of the bytes of one state."""
    return zlib.crc32(np.ascontiguousarray(state).tobytes())


def write_trace(trace: Trace, target: str | Path) -> None:
    """Write ``trace.safetensors``."""
    scalars = {
        "epochs": trace.epochs,
        "l2": trace.l2,
        "first_snapshot": trace.first_snapshot,
        "parameters": trace.layout.parameters,
        # A list, since the order of the tensors is that of the values of a state.
        "shapes": [[name, list(shape)] for name, shape in trace.layout.shapes.items()],
    }
    header = np.frombuffer(json.dumps(scalars, sort_keys=True).encode(), dtype=np.uint8)
    files.write_tensors({**{name: getattr(trace, name) for name in _ARRAYS}, "header": header}, target)


def read_trace(path: str | Path) -> Trace:
    """Read ``trace.safetensors``.  Raises GlitchtraceError where it is none, cut short or altered."""
    tensors = files.read_tensors(path)
    try:
        scalars = json.loads(tensors["header"].tobytes())
        arrays: dict[str, Any] = {name: np.array(tensors[name]) for name in _ARRAYS}
    except (KeyError, ValueError) as error:
        raise GlitchtraceError(
            f"{path} is not the record of a training ({error}); delete it and record the training again"
        ) from None
    shapes = {name: tuple(shape) for name, shape in scalars.pop("shapes")}
    layout = Layout(shapes, scalars.pop("parameters"))
    return Trace(**arrays, **scalars, layout=layout)


class Snapshots:
    """The states before each recorded step, read one at a time.

    ``rows`` (T − first, width): an array, or the memory-mapped ``snapshots.npy``.  ``origin`` names them in
    messages.
    """

    def __init__(self, trace: Trace, rows: np.ndarray, origin: str = "the snapshots") -> None:
        """Raise GlitchtraceError where the rows are not as many or as wide as the trace says."""
        self._trace, self._rows, self._origin = trace, rows, origin
        expected = (trace.steps - trace.first_snapshot, trace.layout.width)
        if rows.shape != expected:
            raise GlitchtraceError(
                f"{origin}: {rows.shape[0] if rows.ndim else 0} snapshots of shape {rows.shape[1:]}, but the "
                f"recorded training has {expected[0]} of {expected[1:]}; record the training again"
            )

    @property
    def first(self) -> int:
        """The first step of which there is a snapshot."""
        return self._trace.first_snapshot

    def __getitem__(self, step: int) -> np.ndarray:
        """The state before one step.  Raises GlitchtraceError where its bytes are not those recorded."""
        state = np.array(self._rows[step - self.first])
        mapped = getattr(self._rows, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)  # pages once read would count as memory of the process
        if checksum(state) != int(self._trace.checksums[step]):
            raise GlitchtraceError(
                f"{self._origin}: the snapshot of step {step} is not that of the recorded training; "
                "delete both files and record the training again"
            )
        return state


def open_snapshots(path: str | Path, trace: Trace) -> Snapshots:
    """The snapshots of ``snapshots.npy``.  Raises GlitchtraceError where it cannot be read or does not fit."""
    return Snapshots(trace, files.read_npy(path, memory_mapped=True), str(path))


def plan_fields(plan: Plan) -> dict[str, Any]:
    """The fields of a plan by name, to make a trace of it."""
    return {field.name: getattr(plan, field.name) for field in fields(Plan)}
