"""Cost of one MNIST cell: the whole chain of glitchtrace beside the plain closed form, one thread each.

The cell: 10 % of MNIST (6,000 training and 1,000 validation pictures), ResNet-20 with the published
CIFAR-10 weights, 10 % uniform label noise, seed 0, learning rate 0.1, batch 128, 7 epochs.  Each chain runs
in a process of its own, from raw data to the F1 of the signals; the plain chain holds everything in memory
and writes nothing.  Both use the same rows, labels and order of batches, so their F1 must agree.

    GLITCHTRACE_DATA=… python benchmarks/mnist_cell.py

prints CPU seconds (imports included), peak memory and F1 of both chains.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SEED = 0
RATIO = 0.1
SUBSET = 0.1
CLASSES = 10
LEARNING_RATE = 0.1
BATCH = 128
EPOCHS = 7
EVALUATION_BATCH = 100
SIGNALS = ("SI", "MI", "MAI", "GD_class", "CNCI", "PCID")


def glitchtrace_chain() -> dict[str, float]:
    """The stage functions of the workflow, one after the other."""
    import pandas as pd

    from glitchtrace.data.fetch import fetch_data
    from glitchtrace.data.prepare import prepare_data
    from glitchtrace.detectors.stage import detect_cell
    from glitchtrace.evaluation.detection import f1_known_ratio
    from glitchtrace.glitches.stage import inject_glitch
    from glitchtrace.influence.stage import profile_influence
    from glitchtrace.training.stage import train_cell

    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "sources" / "mnist"
        file = {
            stem: Path(name) / stem
            for stem in (
                "split.parquet",
                "glitch.parquet",
                "checkpoints.safetensors",
                "factors.safetensors",
                "history.parquet",
                "profile.safetensors",
                "signals.parquet",
            )
        }
        features, labels, description = (
            source / stem for stem in ("features.npy", "labels.npy", "source.json")
        )
        settings = model_settings()
        fetch_data(dataset="mnist", features=features, labels=labels, description=description)
        prepare_data(
            dataset="mnist",
            labels=labels,
            description=description,
            split=file["split.parquet"],
            seed=SEED,
            settings={"subset_ratio": SUBSET},
        )
        inject_glitch(
            split=file["split.parquet"],
            labels=[labels],
            descriptions=[description],
            glitch=file["glitch.parquet"],
            dataset="mnist",
            name="uniform",
            ratio=RATIO,
            seed=SEED,
            settings={},
        )
        cell: dict[str, Any] = {
            "features": [features],
            "split": file["split.parquet"],
            "glitch": file["glitch.parquet"],
            "checkpoints": file["checkpoints.safetensors"],
            "factors": file["factors.safetensors"],
            "dataset": "mnist",
            "model": "resnet20",
        }
        train_cell(
            **cell,
            history=file["history.parquet"],
            settings=settings,
            training={"learning_rate": LEARNING_RATE, "batch_size": BATCH, "epochs": EPOCHS},
            seed=SEED,
            evaluation_batch=EVALUATION_BATCH,
        )
        profile_influence(
            **cell,
            profile=file["profile.safetensors"],
            model_settings=settings,
            estimator="tracin",
            settings={},
        )
        detect_cell(
            glitch=file["glitch.parquet"],
            profile=[file["profile.safetensors"]],
            scores=file["scores.parquet"],
            detectors=SIGNALS,
            settings={},
            estimator_settings={},
            seed=SEED,
        )
        scores = pd.read_parquet(file["scores.parquet"])
        glitch = pd.read_parquet(file["glitch.parquet"])["kind"].to_numpy() != 0
        history = pd.read_parquet(file["history.parquet"])
        last = history[(history["epoch"] == EPOCHS) & (history["part"] == "validation")]
        return {
            "validation accuracy": float(last["accuracy"].iloc[0]),
            **{signal: f1_known_ratio(scores[signal].to_numpy(), glitch) for signal in SIGNALS},
        }


def plain_chain() -> dict[str, float]:
    """The same cell as a plain script: train, pass each checkpoint once, matrix products, signals."""
    import gzip

    import torch
    from torch.nn.functional import cross_entropy

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
    split = make_split(labels, {"train": (0, 60000), "test": (60000, 70000)}, seed=SEED, subset_ratio=SUBSET)
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
    network = resnet20.build((1, 28, 28), CLASSES, model_settings())
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], LEARNING_RATE)
    order = generator(SEED, "loader")
    checkpoints = []
    for _ in range(EPOCHS):
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

    accuracy = float((q.argmax(1) == v).mean())
    return {"validation accuracy": accuracy, **{signal: f1(scores[signal]) for signal in SIGNALS}}


def model_settings() -> dict[str, Any]:
    """ResNet-20 as published."""
    from glitchtrace.models import resnet20

    defaults = {key: fragment["default"] for key, fragment in resnet20.CARD["settings"].items()}  # type: ignore[attr-defined]
    return {**defaults, "weights": "akamaster"}


CHAINS = {"plain": plain_chain, "glitchtrace": glitchtrace_chain}


def measure(chain: str) -> dict[str, float]:
    """Run one chain in this process, on one thread, and return its cost and F1."""
    import torch

    from glitchtrace.core.jobs import peak_kib

    torch.set_num_threads(1)
    results = CHAINS[chain]()
    return {
        "CPU seconds": time.process_time(),
        "peak MiB": peak_kib() / 1024,
        **results,
    }


def main() -> None:
    """Measure every chain in a fresh process and print them side by side."""
    if "GLITCHTRACE_DATA" not in os.environ:
        raise SystemExit("set GLITCHTRACE_DATA to the folder that has MNIST/raw and weights")
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    columns = {}
    for chain in CHAINS:
        command = [sys.executable, __file__, chain]
        process = subprocess.run(
            command, env=os.environ | one_thread, check=True, stdout=subprocess.PIPE, text=True
        )
        columns[chain] = json.loads(process.stdout)
    print(f"{'':20}" + "".join(f"{chain:>14}" for chain in columns))
    for row in columns["plain"]:
        print(f"{row:20}" + "".join(f"{column[row]:14.3f}" for column in columns.values()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
