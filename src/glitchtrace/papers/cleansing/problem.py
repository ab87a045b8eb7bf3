"""A recorded training as the methods of data cleansing see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from glitchtrace.data.cells import CellData, load_cell
from glitchtrace.data.preprocess import Inputs, PictureInputs
from glitchtrace.influence.profile import Profiles
from glitchtrace.influence.sgd_influence import place, tensors, validation_gradient
from glitchtrace.models.network import Network
from glitchtrace.training.augmentation import Augmentation
from glitchtrace.training.device import choose
from glitchtrace.training.recorded.objective import Direction, State
from glitchtrace.training.recorded.trace import Snapshots, Trace, open_snapshots
from glitchtrace.training.stage import build, view


class AugmentedSamples:
    """Samples and their labels, augmented by seed, where the network runs."""

    def __init__(
        self, inputs: Inputs, labels: np.ndarray, augmentation: Augmentation, network: Network
    ) -> None:
        self._inputs, self._labels = inputs, labels
        self._augmentation, self._network = augmentation, network

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._labels)

    def batch(self, rows: np.ndarray, seeds: np.ndarray) -> tuple[Tensor, Tensor]:
        """Inputs, augmented by their seeds, and labels of some samples."""
        x = self._augmentation.apply(self._inputs.batch(rows), seeds)
        return place(x, self._labels[rows], self._network)


@dataclass(frozen=True)
class Setting:
    """The data, the untrained network and the augmentation of one cell."""

    cell: CellData
    network: Network
    augmentation: Augmentation

    @property
    def samples(self) -> AugmentedSamples:
        """The training samples as the recorded steps take them."""
        return AugmentedSamples(self.cell.train, self.cell.train_labels, self.augmentation, self.network)


class CellArguments(TypedDict):
    """What every stage of data cleansing is told of its cell: inputs and parameters of its rule.

    ``stored``: for a frozen backbone, the files of the stages that extract the features.
    """

    features: Sequence[str]
    split: str
    glitch: str
    dataset: str
    model: str
    settings: Mapping[str, Any]
    protocol: Mapping[str, Any]
    seed: int
    device: NotRequired[str]
    stored: NotRequired[Sequence[str]]


def open_setting(**given: Unpack[CellArguments]) -> Setting:
    """The data of a cell in the protocol's form, and the network with the trial's own initial values."""
    model, settings, protocol = given["model"], given["settings"], given["protocol"]
    cell = load_cell(
        features=given["features"],
        split=given["split"],
        glitch=given["glitch"],
        dataset=given["dataset"],
        view=view(model),
        stored=given.get("stored", ()),
    )
    if protocol["side"]:
        sized: dict[str, Any] = {
            part: inputs.resized(protocol["side"])
            for part in ("train", "validation", "test")
            if isinstance(inputs := getattr(cell, part), PictureInputs)
        }
        cell = replace(cell, **sized)
    seeded = {**settings, "head_seed": given["seed"]} if "head_seed" in settings else settings
    network = build(cell, model, seeded).to(choose(given.get("device", "cpu")))
    return Setting(cell, network, Augmentation(protocol["padding"], protocol["flip"]))


@dataclass(frozen=True)
class Problem:
    """A recorded training: its setting, trace and snapshots, and the seed of the trial."""

    setting: Setting
    trace: Trace
    snapshots_path: str | Path
    seed: int
    evaluation_batch: int
    profiles: list[Profiles] = field(default_factory=list)  # of the signals, once made

    @property
    def network(self) -> Network:
        """The network, in whatever state it was left."""
        return self.setting.network

    @property
    def labels(self) -> np.ndarray:
        """Observed labels of the training samples, (n,)."""
        return self.setting.cell.train_labels

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.network.head.weight.device

    @cached_property
    def snapshots(self) -> Snapshots:
        """The states before the steps, opened when first asked for."""
        return open_snapshots(self.snapshots_path, self.trace)

    @cached_property
    def validation_gradient(self) -> Direction:
        """u: gradient of the mean validation loss at the final parameters."""
        cell = self.setting.cell
        return validation_gradient(
            self.network,
            self.trace.final,
            self.trace,
            cell.validation,
            cell.validation_labels,
            self.evaluation_batch,
        )

    def final_state(self) -> State:
        """The network after its last step, in eval mode."""
        return State(self.network, tensors(self.trace.final, self.trace, self.network), training=False)

    def restore(self, epoch: int | None = None) -> Network:
        """The network after an epoch, 0 … E−1 (None: the last), in eval mode."""
        state = self.trace.final if epoch is None else self.trace.epoch_states[epoch]
        self.network.restore(self.trace.layout.split(state))
        self.network.eval()
        return self.network


@dataclass(frozen=True)
class Scored:
    """What a method says of n samples.

    ``score`` (n,): the highest are removed first.  ``scopes`` (n, E'): the influence over the last E', …, 1
    epochs, of methods that walk over the training.
    """

    score: np.ndarray
    scopes: np.ndarray | None = None


def removal_order(score: np.ndarray) -> np.ndarray:
    """Samples in the order of their removal: by score, descending, then by index."""
    return np.argsort(-score, kind="stable")
