"""How true is an influence: a cell trained again without some of its samples, and what an estimator foretold of it.

Random subsets of 1, 10 and 50 % of the training samples, and single samples, are left out by the weight 0 (their batch
keeps its divisor), and the cell is trained again: ``fixed``, in the same order from the same initial values, or
``varied``, each time in another order and, where the model draws them, from other initial values.  J foretells that
the loss of validation sample j rises by Σ_{i removed} J_ij.

* ``lds``, the linear datamodelling score of j: Spearman's correlation over the subsets, of foretold and real loss;
* ``loo_query``, of j: Pearson's correlation over the samples left out alone;
* ``loo_sample``, of a sample left out: the same over the validation samples, of the change of the loss.

Source: Park et al. 2023 (LDS); docs/methods/evaluation.md#truth-by-retraining.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.evaluation.statistics import estimate
from glitchtrace.influence.closed_form import slices

if TYPE_CHECKING:
    from torch import Tensor

    from glitchtrace.data.cells import CellData

# Validation samples per pass; memory of the trainings that run side by side.
_BATCH, _MIB = 128, 256

SHARES = (0.01, 0.1, 0.5)
ORDERS = ("fixed", "varied")
# Points of the distribution over queries, for its curve.
QUANTILES = tuple(np.round(np.arange(0.05, 1, 0.05), 2))


def retrain_subsets(
    *,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    checkpoints: str | Path,
    truth: str | Path,
    dataset: str,
    model: str,
    model_settings: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    subsets: int,
    left_out: int,
    threads: int = 1,
    stored: Sequence[str | Path] = (),
) -> None:
    """Write ``truth.safetensors``: ``losses`` (m,) after the whole training; for each share s ``removed_s`` (subsets,
    s·n), the rows left out, and ``fixed_s``, ``varied_s`` (subsets, m), the losses after training without them;
    ``left_out`` (l,), and ``fixed_one``, ``varied_one`` (l, m).

    The first arguments are those of ``train_cell``; ``subsets`` of each share, ``left_out`` single samples at most.
    Raises GlitchtraceError for a network with dropout or BatchNorm, and where the training repeated step by step does
    not end at its last checkpoint.
    """
    import torch

    from glitchtrace.data.cells import load_cell
    from glitchtrace.influence.metagradient import AGREEMENT
    from glitchtrace.training.checkpoints import read_checkpoints
    from glitchtrace.training.stage import build, view

    torch.set_num_threads(threads)
    cell = load_cell(
        features=features, split=split, glitch=glitch, dataset=dataset, view=view(model), stored=stored
    )
    samples = len(cell.train_labels)
    tensors, sets = {}, {"whole": [np.arange(0)]}
    for share in SHARES:
        count = max(1, round(share * samples))
        sets[str(share)] = [
            np.sort(generator(seed, f"removed {share} {number}").choice(samples, count, replace=False))
            for number in range(subsets)
        ]
        tensors[f"removed_{share}"] = np.stack(sets[str(share)]).astype(np.int32)
    alone = np.sort(generator(seed, "left out").choice(samples, min(left_out, samples), replace=False))
    tensors["left_out"] = alone.astype(np.int32)
    sets["one"] = list(alone[:, None])
    every = [removed for group in sets.values() for removed in group]
    for order in ORDERS:
        numbers = [0] * len(every) if order == "fixed" else list(range(len(every)))
        found, whole = _retrained(cell, every, numbers, seed, model, model_settings, training)
        if order == "fixed":
            names = build(cell, model, model_settings).trained
            reached = read_checkpoints(checkpoints)[-1]
            for name, mine in zip(names, whole, strict=True):
                if np.abs(mine - reached[name]).max() > AGREEMENT * np.abs(reached[name]).max():
                    raise GlitchtraceError(
                        "the training, repeated step by step, does not end at its last checkpoint; "
                        "train the cell again"
                    )
            tensors["losses"] = found[0]
        ends = np.cumsum([len(group) for group in sets.values()])
        for name, part in zip(sets, np.split(found, ends[:-1]), strict=True):
            if name != "whole":
                tensors[f"{order}_{name}"] = part
    files.write_tensors(tensors, truth)


def _retrained(
    cell: "CellData",
    removed: Sequence[np.ndarray],
    numbers: Sequence[int],
    seed: int,
    model: str,
    model_settings: Mapping[str, Any],
    training: Mapping[str, Any],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Losses (r, m) after r trainings, and the parameters after the first.

    Training k is without ``removed[k]``; its order and initial values are those of the cell where ``numbers[k]`` is 0,
    and others else.  Trainings run side by side, as replicas stacked along a dimension of their own.
    """
    import torch
    from torch.func import functional_call, grad, vmap
    from torch.nn.functional import cross_entropy

    from glitchtrace.influence.metagradient_networks import check_network
    from glitchtrace.training.sgd import steps
    from glitchtrace.training.stage import build, learner, seen

    whole = build(cell, model, model_settings)
    network = learner(whole).train()
    check_network(network)
    train, validation = (
        seen(whole, part, _BATCH, torch.device("cpu")) for part in (cell.train, cell.validation)
    )
    labels, targets = (torch.tensor(part) for part in (cell.train_labels, cell.validation_labels))
    samples = len(labels)

    def start(number: int) -> tuple["Tensor", ...]:
        settings = dict(model_settings)
        if not number or "head_seed" not in settings:
            return tuple(part.detach() for part in network.trained_parameters())
        other = learner(build(cell, model, {**settings, "head_seed": settings["head_seed"] + number}))
        return tuple(part.detach() for part in other.trained_parameters())

    def order(number: int) -> list[np.ndarray]:
        draw = f"loader {number}" if number else "loader"
        return steps(seed, samples, training["epochs"], training["batch_size"], network.smallest_batch, draw)

    def logits(parameters: tuple["Tensor", ...], x: "Tensor") -> "Tensor":
        named = dict(zip(network.trained, parameters, strict=True))
        outputs: Tensor = functional_call(network, named, (x,))
        return outputs

    def loss(parameters: tuple["Tensor", ...], x: "Tensor", y: "Tensor", weight: "Tensor") -> "Tensor":
        return (weight * cross_entropy(logits(parameters, x), y, reduction="none")).mean()

    def losses(parameters: tuple["Tensor", ...], x: "Tensor", y: "Tensor") -> "Tensor":
        return cross_entropy(logits(parameters, x), y, reduction="none")

    columns = train.batch(np.arange(1)).numel()
    held = 4 * sum(part.numel() for part in network.trained_parameters())
    held += 30 * training["batch_size"] * columns
    size = max(1, int(_MIB * 2**20 / (4 * held)))
    found: list[np.ndarray] = []
    first: list[np.ndarray] = []
    for begin in range(0, len(removed), size):
        part = range(begin, min(begin + size, len(removed)))
        starts = [start(numbers[k]) for k in part]
        state = tuple(torch.stack(values) for values in zip(*starts, strict=True))
        weights = torch.ones(len(part), samples)
        for row, k in enumerate(part):
            weights[row, removed[k]] = 0
        same = len({numbers[k] for k in part}) == 1
        orders = [order(numbers[part[0]])] if same else [order(numbers[k]) for k in part]
        step = vmap(grad(loss), (0, None, None, 0) if same else (0, 0, 0, 0))
        for rows in zip(*orders, strict=True):
            index = torch.from_numpy(rows[0] if same else np.stack(rows))
            x = train.batch(index.flatten().numpy())
            x = x.reshape(*index.shape, *x.shape[1:])
            weight = weights[:, index] if same else weights.gather(1, index)
            gradients = step(state, x, labels[index], weight)
            state = tuple(
                p.sub(g, alpha=training["learning_rate"]) for p, g in zip(state, gradients, strict=True)
            )
        if not first:
            first = [values[0].numpy() for values in state]
        with torch.no_grad():
            blocks = [
                vmap(losses, (0, None, None))(state, validation.batch(rows), targets[rows])
                for rows in slices(0, len(validation), _BATCH)
            ]
        found.append(torch.cat(blocks, dim=1).numpy())
        if not np.isfinite(found[-1]).all():
            raise GlitchtraceError("a training of the truth diverged; lower the learning rate of the model")
    return np.concatenate(found), first


def measure_truth(*, truth: str | Path, influence: str | Path, fidelity: str | Path) -> None:
    """Write the measures of one estimator: measure, removed (share, or ``one``), order, item (of what), value.

    A correlation with something that does not vary is NaN.  Raises GlitchtraceError where matrix and truth are of
    different samples.
    """
    tensors, matrix = files.read_tensors(truth), files.read_npy(influence, memory_mapped=True)
    if matrix.shape[1:] != tensors["losses"].shape:
        raise GlitchtraceError(
            f"{influence} has {matrix.shape[1:]} validation samples, {truth} {tensors['losses'].shape}; "
            "delete both and run again"
        )
    parts = []

    def add(measure: str, removed: str, order: str, values: np.ndarray) -> None:
        about = {"measure": measure, "removed": removed, "order": order}
        parts.append(pd.DataFrame({**about, "item": np.arange(len(values)), "value": values}))

    for share in SHARES:
        foretold = np.stack(
            [matrix[rows].sum(axis=0, dtype=np.float64) for rows in tensors[f"removed_{share}"]]
        )
        for order in ORDERS:
            add("lds", str(share), order, rank_correlations(foretold, tensors[f"{order}_{share}"]))
    foretold = matrix[tensors["left_out"]].astype(np.float64)
    for order in ORDERS:
        add("loo_query", "one", order, correlations(foretold, tensors[f"{order}_one"]))
    changes = tensors["fixed_one"].astype(np.float64) - tensors["losses"]
    # Of another order and other initial values the change is not that of leaving out.
    add("loo_sample", "one", "fixed", correlations(foretold.T, changes.T))
    files.write_parquet(pd.concat(parts, ignore_index=True), fidelity)


def rank_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the rows of each column, (m,)."""
    return correlations(rankdata(first, axis=0), rankdata(second, axis=0))


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation over the rows of each column, (m,); NaN where a column does not vary."""
    a, b = (np.asarray(values, np.float64) - np.mean(values, axis=0) for values in (first, second))
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    result: np.ndarray = np.divide(
        (a * b).sum(axis=0), scale, out=np.full(scale.shape, np.nan), where=scale > 0
    )
    return result


def summarise_truth(
    *, tables: Sequence[str], records: Sequence[str], cells: Sequence[Mapping[str, Any]], summary: str
) -> None:
    """Write a row per cell and measure: mean over the items with its 95 % interval, quantiles, and what J cost.

    ``records``: the job records of the matrices, for CPU seconds and MiB at the peak.
    """
    found = []
    for keys, table, record in zip(cells, tables, records, strict=True):
        cost = files.read_record(record)["cost"]
        about = {**keys, "cpu_seconds": float(cost["cpu_seconds"]), "peak_mib": float(cost["peak_mib"])}
        for (measure, removed, order), part in files.read_parquet(table).groupby(
            ["measure", "removed", "order"], sort=True
        ):
            values = part["value"].dropna().to_numpy()
            mean = estimate(values)
            quantiles = np.quantile(values, QUANTILES) if len(values) else [np.nan] * len(QUANTILES)
            found.append(
                {
                    **about,
                    "measure": measure,
                    "removed": removed,
                    "order": order,
                    "items": len(values),
                    "missing": len(part) - len(values),
                    "mean": mean.mean,
                    "low": mean.low,
                    "high": mean.high,
                    **{f"q{round(100 * q):02d}": v for q, v in zip(QUANTILES, quantiles, strict=True)},
                }
            )
    files.write_parquet(pd.DataFrame(found), summary)
