"""Cases of one MNIST cell: the whole chain of this package beside a plain script of the closed form.

The cell: a part of MNIST (10 %: 6,000 training and 1,000 validation pictures), ResNet-20 with the published CIFAR-10
weights, 10 % uniform label noise, seed 0, learning rate 0.1, batch 128, some epochs.  From raw data to the F1 of the
signals; the plain script holds everything in memory and writes nothing.  Both use the same rows, labels and order of
batches, so their F1 must agree.  ``together`` makes the same cell and five more of other label noise on a shared trunk:
its files are those of the cell alone.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEED = 0
RATIO = 0.1
CLASSES = 10
LEARNING_RATE = 0.1
BATCH = 128
EVALUATION_BATCH = 100
# The cell, and further ones of the same pictures.
CELLS = (
    ("uniform", RATIO),
    ("uniform", 0.05),
    ("uniform", 0.2),
    ("uniform", 0.3),
    ("class_dependent", RATIO),
    ("none", "clean"),
)
SIGNALS = ("SI", "MI", "MAI", "GD_class", "CNCI", "PCID")
Results = dict[str, np.ndarray]


def alone(subset: float, epochs: int) -> Callable[[], Results]:
    """The stage functions of the workflow, one after the other, for one cell without a shared trunk."""
    return lambda: _chain(subset, epochs, CELLS[:1])


def together(subset: float, epochs: int) -> Callable[[], Results]:
    """The same for all cells, which share their trunk; the results are those of the first."""
    return lambda: _chain(subset, epochs, CELLS)


def plain(subset: float, epochs: int) -> Callable[[], Results]:
    """The same cell as a plain script."""
    return lambda: plain_chain(subset, epochs)


def _chain(subset: float, epochs: int, cells: tuple[tuple[str, Any], ...]) -> Results:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        source = prepared(Path(name), subset)
        found = [cell_of(source, Path(name), noise, epochs, share=len(cells) > 1) for noise in cells]
        return found[0]


def prepared(folder: Path, subset: float) -> Path:
    """Fetch and split MNIST; the folder of the source."""
    from glitchtrace.data.fetch import fetch_data
    from glitchtrace.data.prepare import prepare_data

    source = folder / "sources" / "mnist"
    features, labels, description = (source / stem for stem in ("features.npy", "labels.npy", "source.json"))
    fetch_data(dataset="mnist", features=features, labels=labels, description=description)
    prepare_data(
        dataset="mnist",
        labels=labels,
        description=description,
        split=folder / "split.parquet",
        seed=SEED,
        settings={"subset_ratio": subset},
    )
    return source


def cell_of(source: Path, folder: Path, noise: tuple[str, Any], epochs: int, share: bool) -> Results:
    """One cell from its glitch to its F1."""
    import pandas as pd

    from glitchtrace.core import files
    from glitchtrace.detectors.stage import detect_cell
    from glitchtrace.evaluation.detection import f1_known_ratio
    from glitchtrace.glitches.stage import inject_glitch
    from glitchtrace.influence.stage import profile_influence
    from glitchtrace.training.stage import train_cell

    glitch, checkpoints, factors, history, profile, found = (
        folder / "-".join(map(str, noise)) / stem
        for stem in (
            "glitch.parquet",
            "checkpoints.safetensors",
            "factors.safetensors",
            "history.parquet",
            "profile.safetensors",
            "scores.parquet",
        )
    )
    settings = model_settings()
    inject_glitch(
        split=folder / "split.parquet",
        labels=[source / "labels.npy"],
        descriptions=[source / "source.json"],
        glitch=glitch,
        dataset="mnist",
        name=noise[0],
        ratio=noise[1],
        seed=SEED,
        settings={},
    )
    cell: dict[str, Any] = {
        "features": [source / "features.npy"],
        "split": folder / "split.parquet",
        "glitch": glitch,
        "checkpoints": checkpoints,
        "factors": factors,
        "dataset": "mnist",
        "model": "resnet20",
    }
    train_cell(
        **cell,
        history=history,
        settings=settings,
        training={"learning_rate": LEARNING_RATE, "batch_size": BATCH, "epochs": epochs},
        seed=SEED,
        evaluation_batch=EVALUATION_BATCH,
        share=share,
    )
    profile_influence(**cell, profile=profile, model_settings=settings, estimator="tracin", settings={})
    detect_cell(
        glitch=glitch,
        profile=[profile],
        scores=found,
        detectors=SIGNALS,
        settings={},
        estimator_settings={},
        seed=SEED,
    )
    scores = pd.read_parquet(found)
    wrong = pd.read_parquet(glitch)["kind"].to_numpy() != 0
    return {
        "F1": np.array(
            [f1_known_ratio(scores[signal].to_numpy(), wrong) for signal in SIGNALS if wrong.any()]
        ),
        "bytes": np.array(
            [int(files.crc32(path), 16) for path in (checkpoints, factors, history, profile, found)]
        ),
    }


def plain_chain(subset: float, epochs: int) -> Results:
    """Train, pass each checkpoint once, matrix products, signals."""
    import gzip

    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)

    from glitchtrace.core.seeding import generator
    from glitchtrace.data.split import make_split
    from glitchtrace.glitches import uniform
    from glitchtrace.glitches.table import clean_table
    from glitchtrace.models import resnet20

    raw = Path(os.environ["GLITCHTRACE_DATA"]) / "MNIST" / "raw"

    def read(name: str, header: int) -> np.ndarray:
        with gzip.open(raw / name) as stream:
            return np.frombuffer(stream.read(), dtype=np.uint8)[header:]

    pictures = np.concatenate(
        [read(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) for part in ("train", "t10k")]
    )
    labels = np.concatenate([read(f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")]).astype(
        int
    )
    split = make_split(labels, {"train": (0, 60000), "test": (60000, 70000)}, seed=SEED, subset_ratio=subset)
    table = uniform.inject(
        clean_table(split, labels, "mnist"),
        ratio=RATIO,
        seed=SEED,
        classes=CLASSES,
        settings={"compat": {}},
        foreign={},
    )
    y, glitch = table["label"].to_numpy(), table["kind"].to_numpy() != 0
    validation = split.loc[split["part"] == "validation", "row"].to_numpy()
    v = labels[validation]

    def prepare(rows: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(pictures[rows]).float().unsqueeze(1) / 255
        return (x - 0.5) / 0.5

    x, z, targets = prepare(table["row"].to_numpy()), prepare(validation), torch.tensor(y)
    network = _as_torch_has_it(resnet20.build((1, 28, 28), CLASSES, model_settings()))
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], LEARNING_RATE)
    order = generator(SEED, "loader")
    checkpoints = []
    for _ in range(epochs):
        network.train()
        permutation = order.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = permutation[start : start + BATCH]
            optimiser.zero_grad()
            cross_entropy(network(x[rows]), targets[rows]).backward()
            optimiser.step()
        checkpoints.append({name: tensor.clone() for name, tensor in network.state_dict().items()})

    @torch.inference_mode()
    def forward(inputs: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        features = [network.features(part) for part in inputs.split(EVALUATION_BATCH)]
        h = torch.cat(features)
        return h.numpy(), network.head(h).softmax(1).numpy()

    onehot = np.eye(CLASSES, dtype=np.float32)
    network.eval()
    influence = np.zeros((len(y), len(v)), dtype=np.float32)
    self_influence = np.zeros(len(y))
    for checkpoint in checkpoints:
        network.load_state_dict(checkpoint)
        h, p = forward(x)
        g, q = forward(z)
        gram = h @ g.T + 1
        e, f = p - onehot[y], q - onehot[v]
        influence += LEARNING_RATE * (e @ f.T) * gram
        self_influence += LEARNING_RATE * (e**2).sum(1) * ((h**2).sum(1) + 1)
    negative = np.minimum(influence, 0) @ onehot[v]
    positive = np.maximum(influence, 0) @ onehot[v]
    y_negative = negative.argmin(1)
    y_positive = np.argsort(-positive, axis=1, kind="stable")[:, 1]
    counterfactual = LEARNING_RATE * ((p - onehot[y_negative]) @ f.T) * gram
    cnci = (np.minimum(counterfactual, 0) @ onehot[v])[np.arange(len(y)), y]
    counterfactual = LEARNING_RATE * ((p - onehot[y_positive]) @ f.T) * gram
    change = np.abs(positive - np.maximum(counterfactual, 0) @ onehot[v]).max(1)
    scores = {
        "SI": self_influence,
        "MI": influence.sum(1),
        "MAI": np.abs(influence).sum(1),
        "GD_class": -(influence @ onehot[v]).min(1),
        "CNCI": cnci,
        "PCID": 1 / (positive.sum(1) * change),
    }

    def f1(score: np.ndarray) -> float:
        flagged = np.argsort(-score, kind="stable")[: glitch.sum()]
        return float(glitch[flagged].mean())

    return {"F1": np.array([f1(scores[signal]) for signal in SIGNALS])}


def _as_torch_has_it(network: Any) -> Any:
    """Its layers as one writes them down: torch's BatchNorm, and a block that adds into new memory."""
    from torch import nn
    from torch.nn.functional import relu

    from glitchtrace.models import resnet20

    class Block(resnet20.BasicBlock):
        def forward(self, x: Any) -> Any:
            residual = relu(self.bn1(self.conv1(x)), inplace=True)
            return relu(self.bn2(self.conv2(residual)) + self.shortcut(x), inplace=True)

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = nn.BatchNorm2d
        elif isinstance(module, resnet20.BasicBlock):
            module.__class__ = Block
    return network


def model_settings() -> dict[str, Any]:
    """ResNet-20 as published."""
    from glitchtrace.models import resnet20

    defaults = {key: fragment["default"] for key, fragment in resnet20.CARD["settings"].items()}  # type: ignore[attr-defined]
    return {**defaults, "weights": "akamaster"}
