"""What the length of a training, its rate and the statistics of frozen layers change of the published accuracies.

    python benchmarks/training_length.py cifar10_lossless mnist          # the lines of docs/tables/training_length.csv
    python benchmarks/training_length.py cifar10_lossless --rate 0.1
    python benchmarks/training_length.py cifar10_lossless --fixed-statistics

ResNet-20 with the published weights, a tenth of the set (of cifar10_lossless all of it), 10 % uniform noise.  Measures
accuracy by kind of sample, validation accuracy and the published double-softmax loss after some epochs, and replaces
the lines of the same setting in the table.  5 CPU minutes a data set of 6,000 pictures.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from glitchtrace.core import configuration
from glitchtrace.data.cells import CellData, load_cell
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.prepare import prepare_data
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.stage import inject_glitch
from glitchtrace.models import resnet20
from glitchtrace.operations.jobs import read_config
from glitchtrace.papers.glitches.losses import double_softmax_loss
from glitchtrace.reporting.tables import write_csv
from glitchtrace.training.evaluation import evaluate
from glitchtrace.training.sgd import train

TABLE = Path("docs/tables/training_length.csv")
SETTING = ["dataset", "learning_rate", "fixed_statistics", "seed"]
CPU = torch.device("cpu")


def main() -> None:
    """Train on each data set and put its lines into the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="mnist, fmnist, cifar10_lossless, cifar10_jpeg")
    parser.add_argument("--at", type=int, nargs="+", default=[7, 14, 20], help="epochs that are measured")
    parser.add_argument("--rate", type=float, help="learning rate, instead of the published one")
    parser.add_argument("--fixed-statistics", action="store_true", help="of the frozen layers' batch norm")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    published = read_config(str(configuration.DEFAULT))["models"]["resnet20"]["training"]
    for dataset in options.datasets:
        rate = options.rate or (published["default"] | published.get(dataset, {}))["learning_rate"]
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            cell = problem(dataset, options.seed, Path(folder))
            found = course(cell, rate, options.at, options.seed, options.fixed_statistics)
        setting = dict(zip(SETTING, (dataset, rate, options.fixed_statistics, options.seed), strict=True))
        seconds = round(time.process_time() - started, 1)
        put(pd.DataFrame([setting | row | {"cpu_seconds": seconds} for row in found]))


def problem(dataset: str, seed: int, folder: Path) -> CellData:
    """The cell of a data set, as the workflow makes it."""
    features, labels, description = (folder / name for name in ("features.npy", "labels.npy", "source.json"))
    split, glitch = folder / "split.parquet", folder / "glitch.parquet"
    fetch_data(
        dataset=dataset,
        features=features,
        labels=labels,
        description=description,
        data_root=os.environ["GLITCHTRACE_DATA"],
    )
    part = {} if dataset == "cifar10_lossless" else {"subset_ratio": 0.1}
    prepare_data(labels=labels, description=description, split=split, seed=seed, settings=part)
    inject_glitch(
        split=split,
        labels=[labels],
        descriptions=[description],
        glitch=glitch,
        dataset=dataset,
        name="uniform",
        ratio=0.1,
        seed=seed,
        settings={},
    )
    return load_cell(features=[features], split=split, glitch=glitch, dataset=dataset, view="pictures")


def course(cell: CellData, rate: float, at: list[int], seed: int, fixed: bool) -> list[dict[str, float]]:
    """Train to the last of the epochs; the measures after each of them."""
    settings = {name: each["default"] for name, each in resnet20.CARD["settings"].items()}
    settings |= {"weights": "akamaster", "freeze_bn_stats": fixed}
    network = resnet20.build(cell.train.shape, cell.classes, settings)
    rows: list[dict[str, float]] = []

    def after_epoch(epoch: int) -> None:
        if epoch not in at:
            return
        outputs = evaluate(network, cell.train, batch_size=100, device=CPU).probabilities
        held_out = evaluate(network, cell.validation, batch_size=100, device=CPU).probabilities
        right = outputs.argmax(axis=1) == cell.train_labels
        losses = double_softmax_loss(outputs, cell.train_labels)
        row = {"epoch": epoch, "validation": np.mean(held_out.argmax(axis=1) == cell.validation_labels)}
        for kind in (Kind.CLEAN, Kind.MISLABELLED):
            chosen = cell.kinds == kind
            row[f"{kind.label}"] = right[chosen].mean()
            row[f"{kind.label}_loss"] = losses[chosen].mean()
        rows.append({name: round(float(value), 4) for name, value in row.items()} | {"epoch": epoch})
        print(row, flush=True)

    train(
        network,
        cell.train,
        cell.train_labels,
        learning_rate=rate,
        batch_size=128,
        epochs=max(at),
        seed=seed,
        device=CPU,
        smallest_batch=network.smallest_batch,
        on_epoch=after_epoch,
    )
    return rows


def put(rows: pd.DataFrame) -> None:
    """Put lines into the table, instead of those of the same setting."""
    if TABLE.is_file():
        before = pd.read_csv(TABLE)
        same = before.merge(rows[SETTING].drop_duplicates(), on=SETTING, how="left", indicator=True)["_merge"]
        rows = pd.concat([before[(same == "left_only").to_numpy()], rows])
    write_csv(rows.sort_values([*SETTING, "epoch"]), TABLE)


if __name__ == "__main__":
    main()
