"""How true is the influence? Foretold against real retraining of logistic regression and of an MLP on MNIST.

5,000 training pictures, 100 validation pictures as queries, 20 epochs of SGD (rate 0.1, batch 64) by the workflow's own
training; each estimator is opened as the workflow opens it.  For each share of removed samples, 40 random subsets are
left out and the model is trained again: in the same order of samples from the same initial values (fixed), or each in
an order and from initial values of its own (varied).  The linear datamodelling score (LDS) of a query is the rank
correlation, over the subsets, of the predicted change of its loss, Σ_{i removed} J_ij, with the real one.

    GLITCHTRACE_DATA=… python benchmarks/fidelity.py {linear,mlp} [estimator …]

writes the rows of that model into docs/tables/fidelity_mnist.csv: the mean LDS over the queries, its 95 % interval from
1,000 bootstrap samples of queries, and the CPU seconds of each estimator; the rows of estimators that are not named
stay.  The losses after retraining are kept in results/benchmarks/, as all estimators are scored against the same ones.
kronfluence is a peer: its EK-FAC of all layers.  Source: docs/methods/metagradient.md.
"""

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fidelity_detection import losses_without, trained

from glitchtrace.core import registry
from glitchtrace.core.seeding import generator
from glitchtrace.data.preprocess import VectorInputs
from glitchtrace.evaluation.truth import rank_correlations
from glitchtrace.influence.estimator import EstimatorInputs
from glitchtrace.training.record import Part

SAMPLES, QUERIES, SUBSETS = 5000, 100, 40
REMOVED, ORDERS = (0.01, 0.1, 0.5), ("fixed", "varied")
SGD: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 64, "epochs": 20}
MODELS: dict[str, dict[str, Any]] = {"linear": {}, "mlp": {"hidden": [128]}}
HEAD_SEED = 42
# Row of the table -> estimator and settings.
ESTIMATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "metagradient": ("metagradient", {}),
    "tracin": ("tracin", {}),
    "tracin_layers": ("tracin", {"layers": ["hidden", "head"]}),
    "tracin_steps": ("tracin_steps", {}),
    "influence_functions": ("influence_functions", {}),
    "ekfac": ("ekfac", {}),
    "ekfac_undamped": ("ekfac", {"damping": 1e-8}),
    "captum_arnoldi": ("captum_arnoldi", {}),
    "kronfluence": ("", {}),
}
# Estimators that one of the models has no use for: per step is a head's, and a head has one layer.
NOT_OF = {"linear": {"tracin_layers"}, "mlp": {"tracin_steps"}}
ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs/tables/fidelity_mnist.csv"


def main() -> None:
    """Train, estimate, retrain, compare."""
    torch.set_num_threads(1)
    model, *names = sys.argv[1:] or ["linear"]
    parts = pictures()
    cell = trained(parts, model, {**MODELS[model], "head_seed": HEAD_SEED}, SGD, seed=0)
    first = cell.problem.network.checkpoint()
    found, seconds = {}, {}
    for name in names or [name for name in ESTIMATORS if name not in NOT_OF[model]]:
        started = time.process_time()
        found[name] = by_kronfluence(cell) if name == "kronfluence" else influence(cell, model, name)
        seconds[name] = time.process_time() - started
        cell.problem.network.restore(first)
        print(name, round(seconds[name], 1), "CPU s", flush=True)
    for order in ORDERS:
        for share in REMOVED:
            sets = [
                generator(number, f"removed {share}").choice(SAMPLES, round(share * SAMPLES), replace=False)
                for number in range(SUBSETS)
            ]
            truth, table = changes(cell, model, sets, share, order), []
            for name, matrix in found.items():
                predicted = np.stack([matrix[removed].sum(axis=0) for removed in sets])
                scores = rank_correlations(predicted, truth)
                table.append((model, name, share, order, scores.mean(), *interval(scores), seconds[name]))
                print(*table[-1], flush=True)
            write(table)


def write(table: list[tuple[Any, ...]]) -> None:
    """Put rows into the committed table, in the place of those of the same keys."""
    keys = ["model", "estimator", "removed", "order"]
    measured = pd.DataFrame(table, columns=[*keys, "lds", "low", "high", "cpu_seconds"]).round(4)
    rows = pd.concat([pd.read_csv(TARGET), measured]).drop_duplicates(keys, keep="last")
    rank = {key: number for values in (MODELS, ESTIMATORS, ORDERS) for number, key in enumerate(values)}
    rows.sort_values(
        ["model", "removed", "order", "estimator"],
        key=lambda column: column.map(lambda value: rank.get(value, value)),
    ).to_csv(TARGET, index=False)


def pictures() -> dict[str, Part]:
    """Training and validation pictures, grey values from 0 to 1."""
    pool = registry.load("dataset", "mnist").load(Path(os.environ["GLITCHTRACE_DATA"]))
    rows = generator(0, "rows").permutation(60_000)[: SAMPLES + QUERIES]
    pixels = np.asarray(pool.features[rows]).reshape(len(rows), -1)
    labels = np.asarray(pool.labels[rows]).astype(np.int64)
    zero, scale = np.zeros(784), np.ones(784)
    return {
        name: Part(VectorInputs(pixels[part], zero, scale), labels[part])
        for name, part in (("train", slice(0, SAMPLES)), ("validation", slice(SAMPLES, None)))
    }


def influence(cell: EstimatorInputs, model: str, row: str) -> np.ndarray:
    """The influence matrix of an estimator of the workflow."""
    name, settings = ESTIMATORS[row]
    if row == "captum_arnoldi" and model == "mlp":
        settings = {"layers": ["hidden.0", "head"]}
    opened = registry.load("estimator", name).open_cell(cell, settings)
    return np.concatenate([block for _, block in opened.blocks()])


def changes(
    cell: EstimatorInputs, model: str, sets: list[np.ndarray], share: float, order: str
) -> np.ndarray:
    """Real change of the losses of the queries (subsets, m) by leaving each subset out."""
    file = ROOT / f"results/benchmarks/fidelity_mnist/{model}-{share:g}-{order}.npy"
    if not file.is_file():
        found = [losses_without(cell, np.arange(0))]
        for number, removed in enumerate(sets, start=1):
            other = cell
            if order == "varied":
                settings = {**MODELS[model], "head_seed": HEAD_SEED + number}
                network = registry.load("model", model).build((784,), 10, settings)
                problem = replace(cell.problem, network=network)
                other = replace(cell, read_problem=lambda p=problem: p, training={**SGD, "seed": number})
            found.append(losses_without(other, removed))
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.stack(found))
    losses = np.load(file)
    changed: np.ndarray = losses[1:] - losses[0]
    return changed


def by_kronfluence(cell: EstimatorInputs) -> np.ndarray:
    """EK-FAC of kronfluence at the last checkpoint, with its own defaults."""
    from kronfluence import Analyzer, Task, prepare_model
    from torch.nn.functional import cross_entropy
    from torch.utils.data import TensorDataset

    class Classification(Task):
        """Cross entropy as loss and as measurement."""

        def compute_train_loss(
            self, batch: Any, model: torch.nn.Module, sample: bool = False
        ) -> torch.Tensor:
            """The summed loss of a batch; with labels drawn from the model where ``sample``."""
            logits = model(batch[0])
            drawn = torch.multinomial(logits.detach().softmax(1), 1).flatten() if sample else batch[1]
            return cross_entropy(logits, drawn, reduction="sum")

        def compute_measurement(self, batch: Any, model: torch.nn.Module) -> torch.Tensor:
            """What influence is asked on: the loss of the queries."""
            return self.compute_train_loss(batch, model)

    torch.manual_seed(0)
    problem, task = cell.problem, Classification()
    problem.network.restore(problem.checkpoints[-1])
    train, asked = (
        TensorDataset(part.batch(slice(0, len(part))), torch.from_numpy(labels))
        for part, labels in (
            (problem.train, cell.factors.train.labels),
            (problem.validation, cell.factors.validation.labels),
        )
    )
    layers = [*getattr(problem.network, "hidden", []), problem.network.head]
    between = [module for layer in layers for module in (layer, torch.nn.ReLU())][:-1]
    network = torch.nn.Sequential(*between)
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer(
            "mnist", prepare_model(network, task), task, cpu=True, disable_tqdm=True, output_dir=folder
        )
        analyzer.fit_all_factors("ekfac", train, per_device_batch_size=500)
        analyzer.compute_pairwise_scores(
            "scores", "ekfac", asked, train, per_device_query_batch_size=100, per_device_train_batch_size=500
        )
        scores = analyzer.load_pairwise_scores("scores")["all_modules"].numpy().T
    found: np.ndarray = scores
    return found


def interval(scores: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over the queries."""
    draws = generator(0, "bootstrap").choice(scores, (1000, len(scores))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
