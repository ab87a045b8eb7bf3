"""Does a truer influence detect better? Fidelity to retraining beside detection, on the same trainings.

Wine, digits (500 rows) and breast cancer with wrong labels (10 %: uniform, or the next class), five seeds, logistic
regression and an MLP, by the workflow's own SGD.  Each estimator is opened as the workflow opens it.  Its linear
datamodelling score (LDS) is the rank correlation, over 20 random subsets of 10 % that are left out of a training of the
same order, of predicted and real change of a validation sample's loss, averaged over these; its detection is the F1 of
every influence signal at the known number of wrong labels.

    python benchmarks/fidelity_detection.py wine

puts the rows of the named data sets into docs/tables/fidelity_detection.csv; those of others stay.
Source: docs/fidelity.md.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.data.preprocess import VectorInputs, standardisation
from glitchtrace.detectors.evidence import Evidence, detect
from glitchtrace.evaluation.truth import rank_correlations
from glitchtrace.influence import metagradient_networks as networks
from glitchtrace.influence.estimator import Estimator, EstimatorInputs, Problem
from glitchtrace.influence.factors import assemble_factors
from glitchtrace.influence.metagradient import repeated_steps
from glitchtrace.influence.profile import build_profiles
from glitchtrace.training.record import Part, Recorder
from glitchtrace.training.sgd import train

# Data set -> rows for training and validation.
DATA = {"wine": (120, 50), "digits": (500, 100), "breast_cancer": (400, 100)}
MODELS = {"linear": {}, "mlp": {"hidden": [32]}}
ESTIMATORS = ("metagradient", "influence_functions", "tracin")
SEEDS, RATIO, SUBSETS, REMOVED = 5, 0.1, 20, 0.1
SGD: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 32, "epochs": 10}
TARGET = Path(__file__).parents[1] / "docs/tables/fidelity_detection.csv"


def main() -> None:
    """Train, estimate, retrain and detect; one row per cell, estimator and signal."""
    torch.set_num_threads(1)
    columns = ["dataset", "model", "noise", "seed", "estimator", "lds", "cpu_seconds", "signal", "f1"]
    for dataset in sys.argv[1:] or DATA:
        rows = []
        for model in MODELS:
            for noise in ("uniform", "next_class"):
                for seed in range(SEEDS):
                    rows += list(measure(dataset, model, noise, seed))
                print(dataset, model, noise, round(time.process_time()), "CPU s", flush=True)
        found = pd.DataFrame(rows, columns=columns).round(4)
        if TARGET.is_file():
            before = pd.read_csv(TARGET)
            found = pd.concat([before[before["dataset"] != dataset], found])
        found.to_csv(TARGET, index=False)


def measure(dataset: str, model: str, noise: str, seed: int) -> Iterator[tuple[Any, ...]]:
    """The rows of one cell."""
    inputs, wrong = cell(dataset, model, noise, seed)
    predicted, truth = {}, changes(inputs)
    labels, queries = inputs.factors.train.labels, inputs.factors.validation.labels
    for name in ESTIMATORS:
        started = time.process_time()
        estimator: Estimator = registry.load("estimator", name).open_cell(inputs, {})
        profiles = build_profiles(estimator, labels, queries, per_epoch=False)
        seconds = time.process_time() - started
        matrix = np.concatenate([block for _, block in estimator.blocks()])
        predicted[name] = np.stack([matrix[removed].sum(axis=0) for removed in subsets(len(labels))])
        lds = float(np.nanmean(rank_correlations(predicted[name], truth)))
        evidence = Evidence(labels, int(labels.max()) + 1, read_profiles=lambda p=profiles: p)
        for signal in registry.names("detector"):
            if list(registry.card("detector", signal)["needs"]) == ["profile"]:
                scores = detect(signal, evidence, {"mi_orientation": "positive"}).scores
                flagged = np.lexsort((np.arange(len(scores)), -scores))[: wrong.sum()]
                yield dataset, model, noise, seed, name, lds, seconds, signal, wrong[flagged].mean()


def cell(dataset: str, model: str, noise: str, seed: int) -> tuple[EstimatorInputs, np.ndarray]:
    """A training on wrong labels, as the workflow keeps it, and which labels are wrong."""
    pool = registry.load("dataset", dataset).load(None)
    size, others = DATA[dataset]
    chosen = generator(seed, "rows").permutation(len(pool.labels))[: size + others]
    stored = np.asarray(pool.features[chosen]).reshape(len(chosen), -1)
    true = np.asarray(pool.labels[chosen]).astype(np.int64)
    classes = int(true.max()) + 1
    wrong = np.zeros(size, bool)
    rng = generator(seed, f"wrong labels, {noise}")
    wrong[rng.choice(size, round(RATIO * size), replace=False)] = True
    shift = rng.integers(1, classes, size) if noise == "uniform" else 1
    labels = np.where(wrong, (true[:size] + shift) % classes, true[:size])
    scale = standardisation(stored[:size])
    parts = {
        "train": Part(VectorInputs(stored[:size], *scale), labels),
        "validation": Part(VectorInputs(stored[size:], *scale), true[size:]),
    }
    settings = {**MODELS[model], "head_seed": seed}
    return trained(parts, model, settings, SGD, seed=seed), wrong


def trained(
    parts: dict[str, Part], model: str, settings: dict[str, Any], sgd: dict[str, Any], *, seed: int
) -> EstimatorInputs:
    """A training as the workflow keeps it; its network stands at the initial values."""
    labels = parts["train"].labels
    classes = int(labels.max()) + 1
    network = registry.load("model", model).build(parts["train"].samples.shape, classes, settings)
    first, states, device = network.checkpoint(), [], torch.device("cpu")
    recorder = Recorder(
        network, parts, learning_rate=sgd["learning_rate"], batch_size=sgd["batch_size"],
        evaluation_batch=512, device=device,
    )  # fmt: skip

    def after_epoch(epoch: int) -> None:
        states.append(network.checkpoint())
        recorder.record(epoch)

    train(network, parts["train"].samples, labels, **sgd, seed=seed, device=device, on_epoch=after_epoch)
    network.restore(first)
    tensors = recorder.factors()
    problem = Problem(network, states, parts["train"].samples, parts["validation"].samples)
    return EstimatorInputs(lambda: assemble_factors(tensors), lambda: problem, {**sgd, "seed": seed})


def subsets(samples: int) -> list[np.ndarray]:
    """The samples left out of each training of the truth."""
    count = round(REMOVED * samples)
    return [generator(n, "removed").choice(samples, count, replace=False) for n in range(SUBSETS)]


def changes(inputs: EstimatorInputs) -> np.ndarray:
    """Real change of the validation losses (subsets, m) without each subset, in the same order of samples."""
    base = losses_without(inputs, np.arange(0))
    if not np.isfinite(base).all():
        raise GlitchtraceError("a training of the truth diverged; lower the learning rate")
    return np.stack(
        [losses_without(inputs, removed) - base for removed in subsets(len(inputs.factors.train))]
    )


def losses_without(inputs: EstimatorInputs, removed: np.ndarray) -> np.ndarray:
    """The losses of the validation samples (m,) after the training without some samples, in the same order."""
    problem, factors = inputs.problem, inputs.factors
    weights = np.ones(len(factors.train))
    weights[removed] = 0
    steps = repeated_steps(inputs)
    record = networks.record_training(
        problem.network, problem.train, factors.train.labels, steps,
        np.full(len(steps), factors.learning_rates[0]), weights=weights,
    )  # fmt: skip
    first = problem.network.checkpoint()
    problem.network.restore(dict(zip(problem.network.trained, map(Tensor.numpy, record.last), strict=True)))
    targets = torch.from_numpy(factors.validation.labels)
    with torch.no_grad():
        logits = problem.network(problem.validation.batch(slice(0, len(targets))))
        found = cross_entropy(logits, targets, reduction="none").numpy()
    problem.network.restore(first)
    return np.asarray(found, np.float64)


if __name__ == "__main__":
    main()
