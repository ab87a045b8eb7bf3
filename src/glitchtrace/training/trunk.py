"""The trunk of a network: the layers that labels never reach, passed once for all cells that differ in labels.

Where the last layers of a network are trained and the others are frozen, what comes out of the frozen ones depends on
the pictures and, through the statistics of their BatchNorm layers, on the order of the batches, not on the labels.
Cells of one dataset, model and seed under label noise have the same pictures in the same order: the first of them
keeps what comes out of the trunk below ``<results>/shared``, the others train the tail alone on it, to the same bits.
It is a cache: bounded, removed when the run ends, and nothing but time depends on it.

Source: docs/methods/training.md#shared-trunk.
"""

import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from glitchtrace.core import files, provenance, sharing
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import CellData
from glitchtrace.data.split import TRAIN, rows_of
from glitchtrace.models.network import Network
from glitchtrace.training.sgd import Samples

# Disk for one trunk and for all of them, bytes: a larger trunk is not kept, the longest unused gives way.
LARGEST, TOGETHER = 4 * 2**30, 16 * 2**30
_OUTPUTS, _STATES, _LOCK = "trunk.npy", "trunk.safetensors", "lock"


class Trunk:
    """Outputs of a trunk as the samples of the ``tail``, from the file of an earlier cell or passed and kept.

    ``epoch``, from 1: call ``end_training`` when it is trained and ``end_epoch`` when it is evaluated.  The file holds
    (T·(2n + m), …) float32, for each epoch the training samples in the order of the training, then training and
    validation samples in evaluation mode.
    """

    def __init__(
        self,
        network: Network,
        tail: Network,
        cell: CellData,
        device: torch.device,
        kept: tuple[files.NpyRows, dict[str, np.ndarray]] | None = None,
        keep: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        self.tail = tail
        self.states: dict[str, np.ndarray] = {}
        self._network = network
        self._cell = cell
        self._device = device
        self._kept = kept
        self._keep = keep
        self._folded: Network | None = None
        self._epoch = 1
        self._row = 0
        own = {id(buffer) for buffer in tail.buffers()}
        self._buffers = {name: b for name, b in network.named_buffers() if id(b) not in own}

    @property
    def training(self) -> Samples:
        """The training samples in training mode, to be taken once an epoch in the order of the training."""
        return _Outputs(len(self._cell.train), self._trained)

    @property
    def train(self) -> Samples:
        """The training samples in evaluation mode, to be taken in order after each epoch."""
        return _Outputs(len(self._cell.train), lambda rows: self._evaluated(self._cell.train, rows))

    @property
    def validation(self) -> Samples:
        """The validation samples, likewise, after the training samples."""
        return _Outputs(len(self._cell.validation), lambda rows: self._evaluated(self._cell.validation, rows))

    def end_training(self) -> None:
        """Set the statistics of the trunk to those after the epoch's training."""
        for name, buffer in self._buffers.items():
            key = f"{self._epoch:03d}/{name}"
            if self._kept:
                buffer.copy_(torch.from_numpy(self._kept[1][key]))
            else:
                self.states[key] = buffer.cpu().numpy().copy()

    def end_epoch(self) -> None:
        """Go on to the next epoch; evaluations that were left out are skipped."""
        self._row = self._epoch * _per_epoch(self._cell)
        self._epoch += 1
        self._folded = None

    def _trained(self, rows: np.ndarray | slice) -> Tensor:
        if self._kept:
            return self._next(len(rows))  # type: ignore[arg-type]
        if not self._network.training:
            self._network.train()
        return self._passed(self._network, self._cell.train, rows)

    def _evaluated(self, samples: Samples, rows: np.ndarray | slice) -> Tensor:
        if self._kept:
            return self._next(len(np.arange(len(samples))[rows]))
        if self._folded is None:
            self._folded = self._network.eval().for_evaluation()
        return self._passed(self._folded, samples, rows)

    def _passed(self, network: Network, samples: Samples, rows: np.ndarray | slice) -> Tensor:
        with torch.no_grad():
            outputs = network.trunk(samples.batch(rows).to(self._device))
        if self._keep:
            self._keep(_as_rows(outputs))
        return outputs

    def _next(self, count: int) -> Tensor:
        assert self._kept
        stored = torch.from_numpy(self._kept[0].read(self._row, self._row + count))
        self._row += count
        return stored.permute(0, 3, 1, 2) if stored.ndim == 4 else stored


class _Outputs:
    """Samples that a function gives."""

    def __init__(self, size: int, batch: Callable[[np.ndarray | slice], Tensor]) -> None:
        self._size = size
        self.batch = batch

    def __len__(self) -> int:
        return self._size


@contextmanager
def shared_trunk(
    network: Network, cell: CellData, folder: Path | None, *, device: torch.device, writes: bool, **order: int
) -> Iterator[Trunk | None]:
    """The trunk of a cell, from ``folder`` or, where it is not there and ``writes``, passed and put there.

    None where the network has none, where it is too large for the disk, where there is no ``folder``, and where the
    file system has no locks.  Of several jobs that want it at a time one passes it and the others wait.  ``order``:
    ``batch_size``, ``epochs`` and ``seed`` of the training.
    """
    tail = network.tail()
    if folder is None or tail is None or network.frozen_features or device.type != "cpu":
        yield None
        return
    shape = _shape(network, cell, order["epochs"])
    place = folder / sharing.digest(_depends_on(network, cell, order))
    place.mkdir(parents=True, exist_ok=True)
    with open(place / _LOCK, "a", encoding="utf-8") as lock:
        small = 4 * math.prod(shape) <= LARGEST and sharing.locked(lock)
        kept = _kept(place, shape) if small else None
        if kept or not (small and writes and _room(folder, place, 4 * math.prod(shape))):
            lock.close()  # for the others
            if kept:
                with closing(kept[0]):
                    yield Trunk(network, tail, cell, device, kept)
            else:
                yield None
            return
        with files.appended_npy(place / _OUTPUTS, shape=shape, dtype=np.float32) as keep:
            trunk = Trunk(network, tail, cell, device, keep=keep)
            yield trunk
        files.write_tensors(trunk.states, place / _STATES)


def of_clean_pictures(split: pd.DataFrame, table: pd.DataFrame) -> bool:
    """Whether a sample table has the training pictures of its split as they are, in their order.

    Cells with other pictures than all others have no use for a trunk that is kept.
    """
    same = np.array_equal(table["row"].to_numpy(), rows_of(split, TRAIN))
    corrupted = "corruption" in table and bool((table["corruption"] != "").any())
    return same and bool((table["source"] == table["source"].iloc[0]).all()) and not corrupted


def _shape(network: Network, cell: CellData, epochs: int) -> tuple[int, ...]:
    with torch.inference_mode():
        first = _as_rows(network.eval().trunk(cell.train.batch(slice(0, 1))))
    return (epochs * _per_epoch(cell), *first.shape[1:])


def _per_epoch(cell: CellData) -> int:
    return 2 * len(cell.train) + len(cell.validation)


def _depends_on(network: Network, cell: CellData, order: dict[str, int]) -> dict[str, Any]:
    """All that the outputs depend on: code, pictures, weights, which of them are trained, and order."""
    return {
        "code": provenance.fingerprint(type(network).__module__, __name__),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "pictures": [cell.train.crc32, cell.validation.crc32],
        "form": [cell.train.shape, len(cell.train), len(cell.validation)],
        "weights": weights_of(network),
        "trained": network.trained,
        "fixed": network.freeze_bn_stats,
        **order,
    }


def weights_of(network: Network) -> list[int]:
    """CRC-32 of each tensor of a network."""
    return [zlib.crc32(tensor.cpu().contiguous().numpy()) for tensor in network.state_dict().values()]


def _kept(place: Path, shape: tuple[int, ...]) -> tuple[files.NpyRows, dict[str, np.ndarray]] | None:
    """What an earlier cell has kept; None where there is nothing, or nothing sound."""
    try:
        states, rows = files.read_tensors(place / _STATES), files.NpyRows(place / _OUTPUTS)
    except GlitchtraceError:
        return None
    if rows.shape != shape:
        rows.close()
        return None
    with suppress(FileNotFoundError):  # a job that makes room removed it meanwhile; what is open can be read
        os.utime(place / _STATES)
    return rows, states


def _room(folder: Path, place: Path, size: int) -> bool:
    """Whether a trunk of ``size`` bytes fits; trunks give way to it, the longest unused first."""
    others = []
    for states in folder.glob(f"*/{_STATES}"):
        with suppress(FileNotFoundError):  # another job makes room too
            if states.parent != place:
                others.append((states.stat().st_mtime, states.with_name(_OUTPUTS).stat().st_size, states))
    others.sort()
    while others and sum(taken for _, taken, _ in others) + size > TOGETHER:
        _, _, oldest = others.pop(0)
        oldest.unlink(missing_ok=True)
        oldest.with_name(_OUTPUTS).unlink(missing_ok=True)
    return shutil.disk_usage(folder).free > 2 * size


def _as_rows(outputs: Tensor) -> np.ndarray:
    """Outputs as they are stored: of pictures, channels last."""
    stored = outputs.permute(0, 2, 3, 1) if outputs.ndim == 4 else outputs
    array: np.ndarray = stored.contiguous().cpu().numpy()
    return array
