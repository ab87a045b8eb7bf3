"""Learning rates of the models for tables, on clean labels: docs/tables/tabular_rates.csv.

    python benchmarks/tabular_rates.py [--datasets NAME …] [--models NAME …] [--rates RATE …] [--table FILE]

Adds a line per data set, model and rate to the table, or puts it in the place of the old one: the share of the largest
validation class, the accuracy on validation rows after every epoch (none after a training has diverged), and the CPU
seconds of training and evaluation on one thread.  A tenth of the rows at hand is drawn, a fifth of it for validation.
The raw data lie below GLITCHTRACE_DATA.  ``python docs/datasets.py`` then fills the page.
"""

import argparse
import itertools
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import category_counts, read_description
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.preprocess import TokenInputs, VectorInputs, standardisation
from glitchtrace.data.split import TRAIN, VALIDATION, make_split, rows_of
from glitchtrace.reporting.tables import write_csv
from glitchtrace.training.evaluation import evaluate
from glitchtrace.training.sgd import train

EPOCHS, BATCH, CPU = 10, 128, torch.device("cpu")
ROWS = {"covtype_sample": 9296, "jannis_sample": 3014}
MODELS, RATES = ("tabular_mlp", "tabular_resnet", "ft_transformer"), (0.01, 0.03, 0.1, 0.3)
KEYS = ["dataset", "model", "rate"]


def main() -> None:
    """Train with each rate and keep the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rates", nargs="+", type=float, default=RATES)
    parser.add_argument("--table", type=Path, default=Path("docs/tables/tabular_rates.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for dataset, model in itertools.product(options.datasets, options.models):
        with tempfile.TemporaryDirectory() as folder:
            problem = load(dataset, model, ROWS[dataset], Path(folder))
        for rate in options.rates:
            keep(
                {"dataset": dataset, "model": model, "rate": rate, **measure(model, rate, *problem)},
                options.table,
            )


def keep(row: dict[str, float | str], file: Path) -> None:
    """Put a row into a table, in the place of one of the same keys."""
    found = pd.DataFrame([row])
    if file.exists():
        found = pd.concat([pd.read_csv(file), found]).drop_duplicates(KEYS, keep="last")
    write_csv(found.sort_values(KEYS), file)


def load(dataset: str, model: str, rows: int, folder: Path) -> tuple:
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


def measure(model, rate, inputs, labels, validation, validation_labels, classes) -> dict[str, float]:
    """Share of the largest class, accuracy after every epoch and CPU seconds."""
    settings = {key: part["default"] for key, part in registry.settings("model", model).items()}
    columns = {"categories": inputs.categories} if isinstance(inputs, TokenInputs) else {}
    network = registry.load("model", model).build(inputs.shape, classes, settings, **columns)
    found = {"largest": np.bincount(validation_labels).max() / len(validation_labels)}
    found |= {f"accuracy_{epoch}": np.nan for epoch in range(1, EPOCHS + 1)}

    def after_epoch(epoch: int) -> None:
        seen = evaluate(network, validation, batch_size=100, device=CPU)
        found[f"accuracy_{epoch}"] = seen.accuracy(validation_labels)

    started = time.process_time()
    with suppress(GlitchtraceError):  # it has diverged
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
    return {**found, "cpu_seconds": round(time.process_time() - started, 1)}


if __name__ == "__main__":
    main()
