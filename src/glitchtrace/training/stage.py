"""Training one cell of the grid, and training again on repaired labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glitchtrace.core import files, paths, provenance, registry, sharing
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import CellData, load_cell
from glitchtrace.data.preprocess import PictureInputs
from glitchtrace.models.network import Head, Network
from glitchtrace.training.checkpoints import write_checkpoints
from glitchtrace.training.device import choose
from glitchtrace.training.evaluation import evaluate
from glitchtrace.training.record import Part, Recorder
from glitchtrace.training.sgd import Samples, train
from glitchtrace.training.trunk import of_clean_pictures, shared_trunk, weights_of


def train_cell(
    *,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    checkpoints: str | Path,
    factors: str | Path,
    history: str | Path,
    dataset: str,
    model: str,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    evaluation_batch: int,
    device: str = "cpu",
    stored: Sequence[str | Path] = (),
    share: bool = False,
) -> None:
    """Train a model on the observed labels of a cell; write its checkpoints, factors and history.

    ``features``: features.npy of the host and of foreign sources; ``settings``: those of the model;
    ``training``: ``learning_rate``, ``batch_size``, ``epochs``; ``evaluation_batch``: rows per pass in eval
    mode; ``stored``: for a frozen backbone, the file of the stage ``extract_features``; ``share``:
    leave what labels do not change to other cells below ``<results>/shared``, and take it from them.  After each
    epoch one pass over training and validation samples gives what the closed form and the history need.  The layout
    of the three files is in docs/data-dictionary.md.  The same arguments give the same bytes on one machine and thread
    count.

    Raises GlitchtraceError for bad settings, a diverged training and exhausted memory; nothing is written
    then.
    """
    place = choose(device)
    cell = load_cell(
        features=features, split=split, glitch=glitch, dataset=dataset, view=view(model), stored=stored
    )
    network = build(cell, model, settings).to(place)
    shared = shared_folder(features, split, glitch) if share else None
    states: list[dict[str, np.ndarray]] = []
    with shared_trunk(
        network,
        cell,
        shared,
        **_order(training, seed),
        device=place,
        writes=True,
    ) as trunk:
        trained = trunk.tail if trunk else learner(network)
        samples = trunk.train if trunk else seen(network, cell.train, evaluation_batch, place, shared)
        validation = (
            trunk.validation if trunk else seen(network, cell.validation, evaluation_batch, place, shared)
        )
        recorder = Recorder(
            trained,
            {
                "train": Part(samples, cell.train_labels, cell.kinds),
                "validation": Part(validation, cell.validation_labels),
            },
            learning_rate=training["learning_rate"],
            batch_size=training["batch_size"],
            evaluation_batch=evaluation_batch,
            device=place,
        )

        def after_epoch(epoch: int) -> None:
            if trunk:
                trunk.end_training()
            states.append(network.checkpoint())
            recorder.record(epoch)
            if trunk:
                trunk.end_epoch()

        train(
            trained,
            trunk.training if trunk else samples,
            cell.train_labels,
            **training,
            seed=seed,
            device=place,
            smallest_batch=trained.smallest_batch,
            on_epoch=after_epoch,
        )
    write_checkpoints(states, checkpoints)
    files.write_tensors(recorder.factors(), factors)
    files.write_parquet(recorder.history(), history)


def fit_cell(
    cell: CellData,
    labels: np.ndarray,
    keep_rows: np.ndarray,
    *,
    model: str,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    evaluation_batch: int,
    device: str = "cpu",
    shared: Path | None = None,
    passed: Samples | None = None,
) -> Network:
    """A new network, trained as in ``train_cell`` on other labels and on some of a cell's samples only.

    ``cell``: from ``load_cell`` with ``view(model)``; ``labels``: (n,) integers in 0 … K−1; ``keep_rows``:
    mask (n,) or indices of the samples to train on; ``shared``: the folder where cells have left
    their trunk, used where all samples are kept; ``passed``: all samples as ``frozen_features`` gives
    them.  With the observed labels and all samples the network is that of ``train_cell`` after its last
    epoch.  It is returned in eval mode, on ``device``.

    Raises GlitchtraceError as ``train_cell``.
    """
    place = choose(device)
    rows = np.arange(len(labels))[keep_rows]
    network = build(cell, model, settings).to(place)
    whole = np.array_equal(rows, np.arange(len(cell.train)))
    with shared_trunk(
        network, cell, shared if whole else None, **_order(training, seed), device=place, writes=False
    ) as trunk:
        trained = trunk.tail if trunk else learner(network)

        def after_epoch(_: int) -> None:
            if trunk:
                trunk.end_training()
                trunk.end_epoch()

        train(
            trained,
            trunk.training
            if trunk
            else ChosenSamples(passed, rows)
            if passed is not None
            else seen(network, ChosenSamples(cell.train, rows), evaluation_batch, place),
            labels[rows],
            **training,
            seed=seed,
            device=place,
            smallest_batch=trained.smallest_batch,
            on_epoch=after_epoch,
        )
    network.eval()
    return network


def shared_folder(features: Sequence[str | Path], split: str | Path, glitch: str | Path) -> Path | None:
    """Where cells leave to each other what labels do not change; None for a cell with pictures of its own.

    Found from ``<results>/sources/{source}/features.npy`` of the host.
    """
    if not of_clean_pictures(files.read_parquet(split), files.read_parquet(glitch)):
        return None
    return Path(paths.fill(paths.SHARED, results=str(Path(features[0]).parents[2])))


def _order(training: Mapping[str, Any], seed: int) -> dict[str, int]:
    return {"batch_size": training["batch_size"], "epochs": training["epochs"], "seed": seed}


def view(model: str) -> str:
    """The view of the data that a model takes, for ``load_cell``."""
    name: str = registry.card("model", model)["view"]
    return name


def build(cell: CellData, model: str, settings: Mapping[str, Any]) -> Network:
    """The untrained network of a model for a cell."""
    # Only a model that takes columns one by one needs to know which of them hold categories.
    columns = {"categories": cell.train.categories} if view(model) == "tokens" else {}
    network = registry.load("model", model).build(cell.train.shape, cell.classes, settings, **columns)
    problem = _unlike_network(network, cell.classes)
    if problem:
        raise GlitchtraceError(f"{registry.place('model', model)}: {problem}")
    checked: Network = network
    return checked


def _unlike_network(network: object, classes: int) -> str | None:
    """What keeps an object that ``build`` has returned from being a network of the cell, with the remedy."""
    if not isinstance(network, Network):
        return f"build returned {type(network).__name__}; return a models.network.Network"
    head = getattr(network, "head", None)
    if not isinstance(head, torch.nn.Linear):
        return f"its head is {type(head).__name__}; make it a torch.nn.Linear"
    if head.out_features != classes:
        return f"its head has {head.out_features} outputs for {classes} classes; give it one per class"
    if head.bias is None:  # the closed form of the influence has no other way to know
        return "its head has no bias, which the influence counts; leave bias=False out"
    if not network.trained:
        return "no parameter is trained; name the layers that learn by train_only"
    others = [name for name in network.trained if not name.startswith("head.")]
    if network.frozen_features and others:
        return f"frozen_features is True, but {others[0]} is trained; train the head alone, or leave it False"
    return None


def learner(network: Network) -> Network:
    """What is passed in training: with frozen features the head alone, shared with ``network``."""
    return Head(network.head) if network.frozen_features else network


def seen(
    network: Network,
    samples: Samples,
    evaluation_batch: int,
    device: torch.device,
    shared: Path | None = None,
) -> Samples:
    """The samples as the learner takes them: frozen features are computed once, here.

    ``shared``: the folder where cells of the same pictures leave them to each other.
    """
    if not network.frozen_features:
        return samples

    def depends_on() -> dict[str, Any]:
        assert isinstance(samples, PictureInputs)
        return {
            "code": provenance.fingerprint(type(network).__module__, __name__),
            "threads": torch.get_num_threads(),
            "pictures": [samples.crc32, *samples.shape, len(samples)],
            "weights": weights_of(network),
            "batch": evaluation_batch,
        }

    pictures = isinstance(samples, PictureInputs) and device.type == "cpu"
    (features,) = sharing.shared(
        shared if pictures else None,
        depends_on,
        lambda: (evaluate(network, samples, batch_size=evaluation_batch, device=device).features,),
    )
    return _Stored(features)


def frozen_features(
    cell: CellData,
    model: str,
    settings: Mapping[str, Any],
    evaluation_batch: int,
    device: str,
    shared: Path | None = None,
) -> Samples | None:
    """The training samples of a cell as the head takes them, where features are frozen: for several trainings."""
    place = choose(device)
    network = build(cell, model, settings).to(place)
    return seen(network, cell.train, evaluation_batch, place, shared) if network.frozen_features else None


class ChosenSamples:
    """Some rows of samples."""

    def __init__(self, samples: Samples, rows: np.ndarray) -> None:
        self._samples = samples
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, rows: np.ndarray | slice) -> torch.Tensor:
        """The prepared samples of some of the rows."""
        return self._samples.batch(self._rows[rows])


class _Stored:
    """Samples that are at hand as tensors."""

    def __init__(self, array: np.ndarray) -> None:
        self._tensor = torch.from_numpy(array)

    def __len__(self) -> int:
        return len(self._tensor)

    def batch(self, rows: np.ndarray | slice) -> torch.Tensor:
        return self._tensor[rows]
