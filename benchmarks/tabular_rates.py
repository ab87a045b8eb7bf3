"""Learning rates of the models for tables: validation accuracy after every epoch, on clean labels.

    python benchmarks/tabular_rates.py jannis_sample tabular_mlp --rows 3014 --rates 0.01 0.03 0.1 0.3

Prints one line per rate, with the share of the largest validation class and the CPU seconds of training and
evaluation on one thread.  The raw data lie below GLITCHTRACE_DATA.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import category_counts, read_description
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.preprocess import TokenInputs, VectorInputs, standardisation
from glitchtrace.data.split import TRAIN, VALIDATION, make_split, rows_of
from glitchtrace.training.evaluation import evaluate
from glitchtrace.training.sgd import train

EPOCHS, BATCH, CPU = 10, 128, torch.device("cpu")


def main() -> None:
    """Train with each rate and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="name of a table")
    parser.add_argument("model", help="tabular_mlp, tabular_resnet or ft_transformer")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.01, 0.03, 0.1, 0.3])
    parser.add_argument("--rows", type=int, help="rows for training and validation together; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        problem = load(options.dataset, options.model, options.rows, Path(folder))
    for rate in options.rates:
        print(options.dataset, options.model, rate, *measure(options.model, rate, *problem), flush=True)


def load(dataset: str, model: str, rows: int | None, folder: Path) -> tuple:
    """Training and validation inputs and labels, and the number of classes."""
    paths = [folder / name for name in ("features.npy", "labels.npy", "source.json")]
    names = ("features", "labels", "description")
    fetch_data(
        dataset=dataset, data_root=os.environ["GLITCHTRACE_DATA"], **dict(zip(names, paths, strict=True))
    )
    features, labels, description = np.load(paths[0]), np.load(paths[1]), read_description(paths[2])
    bounds = {part: tuple(found) for part, found in description["parts"].items()}
    size = {"test_size": 1000} if "all" in bounds else {}
    split = make_split(labels, bounds, seed=0, subset_size=rows, validation_source="holdout", **size)
    form = {"vector": VectorInputs, "tokens": TokenInputs}[registry.card("model", model)["view"]]
    mean, std = standardisation(features[rows_of(split, TRAIN)])
    parts = []
    for part in (TRAIN, VALIDATION):
        chosen = rows_of(split, part)
        parts += [form(features[chosen], mean, std, category_counts(description)), labels[chosen]]
    return (*parts, len(description["classes"]))


def measure(model, rate, inputs, labels, validation, validation_labels, classes) -> tuple:
    """Share of the largest class, accuracy after every epoch (the last entry says where training ended) and CPU s."""
    settings = {key: part["default"] for key, part in registry.settings("model", model).items()}
    columns = {"categories": inputs.categories} if isinstance(inputs, TokenInputs) else {}
    network = registry.load("model", model).build(inputs.shape, classes, settings, **columns)
    accuracies: list[float | str] = []

    def after_epoch(_: int) -> None:
        found = evaluate(network, validation, batch_size=100, device=CPU)
        accuracies.append(round(found.accuracy(validation_labels), 3))

    started = time.process_time()
    try:
        train(
            network,
            inputs,
            labels,
            learning_rate=rate,
            batch_size=BATCH,
            epochs=EPOCHS,
            seed=0,
            device=CPU,
            smallest_batch=network.smallest_batch,
            on_epoch=after_epoch,
        )
    except GlitchtraceError as error:
        accuracies.append(str(error))
    largest = round(np.bincount(validation_labels).max() / len(validation_labels), 3)
    return largest, accuracies, round(time.process_time() - started, 1)


if __name__ == "__main__":
    main()
