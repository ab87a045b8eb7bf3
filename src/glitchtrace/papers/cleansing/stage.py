"""Stages of data cleansing: record a training, score its samples, remove the worst and train again."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.papers.cleansing.problem import (
    CellArguments,
    Problem,
    Scored,
    Setting,
    open_setting,
    removal_order,
)
from glitchtrace.training.evaluation import evaluate
from glitchtrace.training.recorded.recording import (
    check_trace,
    first_snapshot,
    layout_of,
    make_plan,
    record,
    replay,
    require_space,
    snapshot_bytes,
)
from glitchtrace.training.recorded.trace import read_trace, write_trace

_log = logging.getLogger(__name__)


def record_training(
    *,
    trace: str,
    snapshots: str,
    training: Mapping[str, Any],
    protocol_name: str,
    **cell: Unpack[CellArguments],
) -> None:
    """Train a cell by plain SGD and write ``trace.safetensors`` and ``snapshots.npy``.

    Snapshots are streamed to disk, one row per step; whether they fit is checked before the first step.
    ``protocol_name`` is that of the protocol in the configuration, for messages.
    Raises GlitchtraceError where they do not, for a diverged training and exhausted memory; nothing is
    written then.
    """
    setting, protocol = open_setting(**cell), cell["protocol"]
    plan = make_plan(
        len(setting.samples),
        epochs=training["epochs"],
        batch_size=training["batch_size"],
        learning_rate=training["learning_rate"],
        split=protocol["split"],
        decay=protocol["learning_rate_decay"],
        l2=protocol["l2"],
        order_seed=cell["seed"] if protocol["batch_order"] == "trial" else None,
    )
    layout, first = layout_of(setting.network), first_snapshot(plan, protocol["snapshots"])
    folder = Path(snapshots).parent
    folder.mkdir(parents=True, exist_ok=True)
    needed = snapshot_bytes(plan, layout, protocol["snapshots"])
    require_space(folder, needed, f"protocols.{protocol_name}.snapshots")
    shape = (plan.steps - first, layout.width)
    with files.mapped_npy(snapshots, shape=shape, dtype=np.float32) as keep:
        recorded = record(setting.network, setting.samples, plan, keep=keep, first=first)
    write_trace(recorded, trace)


def score_cleansing(
    *,
    trace: str,
    snapshots: str,
    scores: str,
    scopes: str,
    cost: str,
    cleansing_methods: Mapping[str, Mapping[str, Any]],
    evaluation_batch: int,
    **cell: Unpack[CellArguments],
) -> None:
    """Write the scores of every method: which samples of a recorded training to remove first.

    ``scores``: method, rank (from 0), sample, source, row (in the source), label, score; ``scopes``:
    method -> (n, E') influence by first epoch, of the methods that walk over the training; ``cost``: CPU
    seconds of each method in this job, and bytes of states it reads; the pass over the epochs that the signals
    share counts for the first of them.  ``cleansing_methods``: name -> settings.
    """
    setting, recorded = open_setting(**cell), read_trace(trace)
    check_trace(setting.network, setting.samples, recorded)
    problem = Problem(setting, recorded, snapshots, cell["seed"], evaluation_batch)
    samples = files.read_parquet(cell["glitch"])
    tables, matrices, costs = [], {}, []
    for method, options in cleansing_methods.items():
        started = time.process_time()
        scored: Scored = registry.load("cleansing_method", method).score(problem, options)
        seconds = time.process_time() - started
        _log.info("%s: %d samples scored in %.1f CPU seconds", method, len(samples), seconds)
        costs.append(
            {
                "method": method,
                "cpu_seconds": seconds,
                "cache_bytes": cache_bytes(problem, method),
                "last_movement": problem.trace.last_movement,
            }
        )
        order = removal_order(scored.score)
        table = pd.DataFrame({"method": method, "rank": np.arange(len(order)), "sample": order})
        for column in ("source", "row", "label"):
            table[column] = samples[column].to_numpy()[order]
        tables.append(table.assign(score=scored.score[order]))
        if scored.scopes is not None:
            matrices[method] = scored.scopes
    files.write_parquet(pd.concat(tables, ignore_index=True), scores)
    files.write_tensors(matrices, scopes)
    files.write_parquet(pd.DataFrame(costs), cost)


def cache_bytes(problem: Problem, method: str) -> int:
    """Bytes of states that a method reads.

    Those before the steps it walks over (``snapshots`` of its card), or what its card says under ``reads``:
    those after the epochs, the ``final`` one, the default, or ``nothing``.
    """
    trace, card = problem.trace, registry.card("cleansing_method", method)
    states = {
        "all": trace.steps,
        "last": trace.steps_per_epoch,
        "epochs": trace.epochs,
        "final": 1,
        "nothing": 0,
    }
    return states[card.get("snapshots", card.get("reads", "final"))] * trace.final.nbytes


def remove_and_retrain(
    *,
    trace: str,
    scores: str,
    removal: str,
    retrained: str,
    removals: Sequence[int],
    evaluation_batch: int,
    **cell: Unpack[CellArguments],
) -> None:
    """Write ``removal.parquet``: accuracy and loss after each number of removed samples.

    For each method of ``scores`` the n first samples are left out of a replay of the recorded training, of
    ``all`` epochs or of the ``last`` alone.  Columns: method, removed, glitched (how many of the removed
    carry a glitch), part (validation, test), accuracy, loss.  n = 0 is the recorded training itself;
    numbers of at least all samples are passed over.
    """
    setting = open_setting(**cell)
    recorded = read_trace(trace)
    first_epoch = 0 if retrained == "all" else recorded.epochs - 1
    samples = setting.samples
    table = files.read_parquet(scores)
    replay(setting.network, samples, recorded, first_epoch=first_epoch)
    nothing = list(_parts(setting, evaluation_batch))
    rows: list[dict[str, Any]] = []
    for method, ranked in table.groupby("method", sort=False):
        order = ranked.sort_values("rank")["sample"].to_numpy()
        for count in removals:
            if count >= len(order):
                continue
            removed = np.zeros(len(order), dtype=bool)
            removed[order[:count]] = True
            measured = nothing
            if count:
                replay(setting.network, samples, recorded, removed, first_epoch=first_epoch)
                measured = list(_parts(setting, evaluation_batch))
            glitched = int((setting.cell.kinds[removed] != 0).sum())
            _log.info(
                "%s without %d of %d samples: test accuracy %.4f, loss %.4f",
                method,
                count,
                len(order),
                measured[-1]["accuracy"],
                measured[-1]["loss"],
            )
            rows += [{"method": method, "removed": count, "glitched": glitched, **part} for part in measured]
    files.write_parquet(pd.DataFrame(rows), removal)


def _parts(setting: Setting, evaluation_batch: int) -> Iterator[dict[str, Any]]:
    """Accuracy and loss of the network as it is, on validation and test."""
    cell, device = setting.cell, setting.network.head.weight.device
    for part, inputs, labels in (
        ("validation", cell.validation, cell.validation_labels),
        ("test", cell.test, cell.test_labels),
    ):
        outputs = evaluate(setting.network, inputs, batch_size=evaluation_batch, device=device)
        yield {"part": part, "accuracy": outputs.accuracy(labels), "loss": outputs.loss(labels)}
