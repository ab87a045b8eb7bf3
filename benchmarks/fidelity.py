"""How true is the influence? Predicted against real retraining of logistic regression on MNIST.

5,000 training pictures, 100 validation pictures as queries, 20 epochs of SGD (rate 0.1, batch 64).  For each share of
removed samples, 40 random subsets are left out and the model is trained again: in the same order of samples (fixed) or
each in an order of its own (varied).  The linear datamodelling score (LDS) of a query is the rank correlation, over the
subsets, of the predicted change of its loss, Σ_{i removed} J_ij, with the real one.

    GLITCHTRACE_DATA=… python benchmarks/fidelity.py [estimator …]

writes docs/tables/fidelity_mnist.csv: the mean LDS over the queries, its 95 % interval from 1,000 bootstrap samples of
queries, and the CPU seconds of each estimator; the rows of estimators that are not named stay.  kronfluence is a peer:
its EK-FAC of the same head.  Source: docs/methods/metagradient.md.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import registry
from glitchtrace.core.seeding import generator
from glitchtrace.evaluation.truth import rank_correlations
from glitchtrace.influence import metagradient
from glitchtrace.influence.solvers import Operator, conjugate_gradients

SAMPLES, QUERIES, SUBSETS = 5000, 100, 40
EPOCHS, BATCH, RATE = 20, 64, 0.1
REMOVED = (0.01, 0.1, 0.5)
DAMPING = 1e-3
TARGET = Path(__file__).parents[1] / "docs/tables/fidelity_mnist.csv"


def main() -> None:
    """Train, estimate, retrain, compare."""
    pool = registry.load("dataset", "mnist").load(Path(os.environ["GLITCHTRACE_DATA"]))
    rows = generator(0, "rows").permutation(60_000)[: SAMPLES + QUERIES]
    pixels = np.asarray(pool.features[rows]).reshape(len(rows), -1).astype(np.float32) / 255
    inputs = np.column_stack([pixels, np.ones(len(rows), np.float32)])
    labels = np.asarray(pool.labels[rows]).astype(np.int64)
    queries, query_labels = inputs[SAMPLES:], labels[SAMPLES:]
    given = {
        "inputs": inputs[:SAMPLES],
        "labels": labels[:SAMPLES],
        "initial": np.zeros((10, 785), np.float32),
    }
    record = metagradient.record_training(**given, **schedule(0))
    found, seconds = {}, {}
    for name in sys.argv[1:] or ESTIMATORS:
        started = time.process_time()
        found[name] = ESTIMATORS[name](record, queries, query_labels)
        seconds[name] = time.process_time() - started
        print(name, round(seconds[name], 1), "CPU s", flush=True)
    base = losses(record.states[-1], queries, query_labels)
    table = []
    for share in REMOVED:
        sets = [
            generator(number, f"removed {share}").choice(SAMPLES, round(share * SAMPLES), replace=False)
            for number in range(SUBSETS)
        ]
        for order in ("fixed", "varied"):
            truth = np.stack(
                [
                    retrained(given, removed, 0 if order == "fixed" else 1 + number, queries, query_labels)
                    - base
                    for number, removed in enumerate(sets)
                ]
            )
            for name, influence in found.items():
                predicted = np.stack([influence[removed].sum(axis=0) for removed in sets])
                scores = rank_correlations(predicted, truth)
                low, high = interval(scores)
                table.append((name, share, order, scores.mean(), low, high, seconds[name]))
                print(table[-1], flush=True)
    columns = ["estimator", "removed", "order", "lds", "low", "high", "cpu_seconds"]
    measured = pd.DataFrame(table, columns=columns).round(4)
    before = pd.read_csv(TARGET)
    kept = before[~before["estimator"].isin(found)]
    rows = pd.concat([kept, measured], ignore_index=True)
    place = {name: number for number, name in enumerate(ESTIMATORS)}
    order = rows.assign(at=rows["estimator"].map(place), last=rows["order"] == "varied")
    rows.loc[order.sort_values(["removed", "last", "at"], kind="stable").index].to_csv(TARGET, index=False)


def schedule(seed: int) -> dict[str, object]:
    """Batches and rates of a training whose order of samples is drawn from ``seed``."""
    rng = generator(seed, "order")
    batches = [
        rows
        for _ in range(EPOCHS)
        for rows in np.split(rng.permutation(SAMPLES), range(BATCH, SAMPLES, BATCH))
    ]
    return {"batches": batches, "rates": np.full(len(batches), RATE)}


def losses(weights: np.ndarray, queries: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross entropy of each query, (m,)."""
    guess = metagradient.probabilities(queries, weights)
    return -np.log(guess[np.arange(len(labels)), labels])


def retrained(
    given: dict[str, np.ndarray], removed: np.ndarray, seed: int, queries: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """The losses of the queries after a training without the removed samples."""
    weights = np.ones(SAMPLES)
    weights[removed] = 0
    return losses(
        metagradient.record_training(**given, **schedule(seed), weights=weights).states[-1], queries, labels
    )


def by_metagradient(record: metagradient.RecordedHead, queries: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Influence through every step of the training."""
    return metagradient.influence_matrix(record, queries, labels)


def by_tracin(record: metagradient.RecordedHead, queries: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """TracIn at the end of each epoch, in closed form."""
    steps = len(record.batches) // EPOCHS
    total = np.zeros((SAMPLES, len(queries)), np.float32)
    for epoch in range(1, EPOCHS + 1):
        weights = record.states[epoch * steps]
        ours = residuals(record.inputs, record.labels, weights)
        total += ours @ residuals(queries, labels, weights).T
    return RATE * total * (record.inputs @ queries.T)


def by_influence_functions(
    record: metagradient.RecordedHead, queries: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Koh and Liang: the inverse Hessian of the mean loss at the last weights, by conjugate gradients."""
    inputs, weights = record.inputs.astype(np.float64), record.states[-1].astype(np.float64)
    guess = metagradient.probabilities(inputs, weights)

    def product(vector: np.ndarray) -> np.ndarray:
        response = inputs @ vector.reshape(10, 785).T
        response -= (response * guess).sum(axis=1, keepdims=True)
        response *= guess
        return (response.T @ inputs / SAMPLES).ravel()

    operator = Operator(product, size=7850, damping=DAMPING)
    ours = residuals(inputs, record.labels, weights)
    matrix = np.empty((SAMPLES, len(queries)))
    for number, (query, residual) in enumerate(
        zip(queries, residuals(queries, labels, record.states[-1]), strict=True)
    ):
        gradient = np.outer(residual, query).ravel().astype(np.float64)
        solved = conjugate_gradients(operator, gradient, tolerance=1e-3, limit=200, unfinished="log").vector
        matrix[:, number] = np.vecdot(ours, inputs @ solved.reshape(10, 785).T) / SAMPLES
    return matrix


def by_kronfluence(record: metagradient.RecordedHead, queries: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """EK-FAC of kronfluence at the last weights, with its own defaults."""
    import torch
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

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(785, 10, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.from_numpy(record.states[-1]))
    task = Classification()
    train, asked = (
        TensorDataset(torch.from_numpy(rows), torch.from_numpy(of))
        for rows, of in ((record.inputs, record.labels), (queries, labels))
    )
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


ESTIMATORS = {
    "metagradient": by_metagradient,
    "tracin": by_tracin,
    "koh_liang": by_influence_functions,
    "kronfluence": by_kronfluence,
}


def residuals(inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """P − onehot(y), (rows, K)."""
    return metagradient.probabilities(inputs, weights) - np.eye(10, dtype=inputs.dtype)[labels]


def interval(scores: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over the queries."""
    draws = generator(0, "bootstrap").choice(scores, (1000, len(scores))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
