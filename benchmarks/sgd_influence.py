"""Cost of SGD-influence on the reference task: the walk of this package beside the published loop.

Small CNN (13,750 parameters), 2,000 training and 1,000 validation pictures of MNIST, 20 epochs of 32 steps,
batch 64, crops after padding 2, rate 0.05; all 640 steps are walked back.  Each figure is measured in a process
of its own on one thread: CPU seconds of scoring and peak memory over the process after imports and data.  The
published loop (one backward pass per sample, double backward for the Hessian) is timed on the last epoch, a
twentieth of the work, and its scores are compared with those of the walk.

    GLITCHTRACE_DATA=… python benchmarks/sgd_influence.py

writes docs/tables/cleansing_cost.csv, which ``python docs/cleansing.py`` takes into docs/cleansing.md.

Budget: 20 CPU seconds and 150 MB for all epochs, scores equal to 1e-5 of the largest.
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

EPOCHS, BATCH, RATE = 20, 64, 0.05
TARGET = Path(__file__).parents[1] / "docs/tables/cleansing_cost.csv"
SCOPES = {"all": (0, True), "last": (EPOCHS - 1, True), "final": (EPOCHS - 1, False)}


def problem() -> tuple[Any, ...]:
    """Network, augmented training samples, validation samples and their labels."""
    from glitchtrace.data.datasets.idx import load_mnist
    from glitchtrace.data.preprocess import PictureInputs
    from glitchtrace.models.convnets import build_small_cnn
    from glitchtrace.papers.cleansing.problem import AugmentedSamples
    from glitchtrace.training.augmentation import Augmentation

    pool = load_mnist(Path(os.environ["GLITCHTRACE_DATA"]))
    rows = np.random.default_rng(0).permutation(60_000)[:3000]
    train, validation = PictureInputs(pool.features[rows[:2000]]), PictureInputs(pool.features[rows[2000:]])
    network = build_small_cnn((1, 28, 28), 10, {"head_seed": 0})
    samples = AugmentedSamples(train, pool.labels[rows[:2000]], Augmentation(2), network)
    return network, samples, validation, pool.labels[rows[2000:]]


def record_once(folder: Path) -> None:
    """Record the training."""
    from glitchtrace.training.recorded.recording import layout_of, make_plan, record
    from glitchtrace.training.recorded.trace import write_trace

    network, samples, _, _ = problem()
    plan = make_plan(2000, epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE)
    keep = np.empty((plan.steps, layout_of(network).width), dtype=np.float32)
    write_trace(record(network, samples, plan, keep=keep), folder / "trace.safetensors")
    np.save(folder / "snapshots.npy", keep)


def walk(folder: Path, scope: str) -> dict[str, float]:
    """Score by the walk of this package."""
    from glitchtrace.influence.sgd_influence import sgd_influence, validation_gradient
    from glitchtrace.training.recorded.trace import open_snapshots, read_trace

    network, samples, validation, labels = problem()
    first_epoch, exact = SCOPES[scope]
    before, started = _reset_peak(), time.process_time()
    trace = read_trace(folder / "trace.safetensors")
    snapshots = open_snapshots(folder / "snapshots.npy", trace) if exact else None
    u = validation_gradient(network, trace.final, trace, validation, labels, 100)
    scores = sgd_influence(network, samples, trace, u, snapshots=snapshots, first_epoch=first_epoch)
    found = {"cpu": time.process_time() - started, "memory": _peak() - before}
    np.save(folder / f"{scope}.npy", scores)
    return {**found, "cache": trace.final.nbytes * ((EPOCHS - first_epoch) * 32 if exact else 1) / 1e6}


def loop(folder: Path) -> dict[str, float]:
    """Score the last epoch as published: sample by sample, then the Hessian by a second backward pass."""
    import torch
    from torch import Tensor
    from torch.nn.functional import conv2d, cross_entropy, linear, max_pool2d

    from glitchtrace.influence.sgd_influence import tensors, validation_gradient
    from glitchtrace.training.recorded.trace import open_snapshots, read_trace

    def outputs(theta: dict[str, Tensor], x: Tensor) -> Tensor:
        """The small CNN in torch's own functions."""
        for layer in ("first", "second"):
            x = max_pool2d(conv2d(x, theta[f"{layer}.weight"], theta[f"{layer}.bias"]).relu(), 2)
        return linear(x.flatten(1), theta["head.weight"], theta["head.bias"])

    network, samples, validation, labels = problem()
    started = time.process_time()
    trace = read_trace(folder / "trace.safetensors")
    snapshots = open_snapshots(folder / "snapshots.npy", trace)
    u = validation_gradient(network, trace.final, trace, validation, labels, 100)
    scores = np.zeros(len(samples))
    for step in range(trace.steps - 1, trace.steps - 33, -1):
        theta = {
            name: part.requires_grad_() for name, part in tensors(snapshots[step], trace, network).items()
        }
        rows, seeds = trace.step(step)
        x, y = samples.batch(rows, seeds)
        rate = float(trace.rates[step])
        for place, row in enumerate(rows):
            one = slice(place, place + 1)
            loss = cross_entropy(outputs(theta, x[one]), y[one])
            slope = torch.autograd.grad(loss, list(theta.values()))
            scores[row] += rate / len(rows) * sum(float((a * b).sum()) for a, b in zip(u, slope, strict=True))
        loss = cross_entropy(outputs(theta, x), y)
        slope = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        inner = sum(((a * b).sum() for a, b in zip(u, slope, strict=True)), torch.zeros(()))
        product = torch.autograd.grad(inner, list(theta.values()))
        u = tuple(a - rate * b for a, b in zip(u, product, strict=True))
    cpu = time.process_time() - started
    mine = np.load(folder / "last.npy")[:, 0]
    return {"cpu": cpu, "difference": float(np.abs(mine - scores).max() / np.abs(scores).max())}


def _reset_peak() -> float:
    """Forget the peak of imports and data, under which that of the walk could hide; memory held now, MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    """Peak memory of this process since it was last reset, MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return peak * 1024 / 1e6


def main() -> None:
    """Measure every scope and the loop in fresh processes, and write the table."""
    import pandas as pd

    from glitchtrace.reporting.tables import write_csv

    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for job in ("record", *SCOPES, "loop"):
            done = subprocess.run(
                [sys.executable, __file__, folder, job],
                env=os.environ | one_thread,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            found[job] = json.loads(done.stdout)
    loop = found["loop"]
    rows = [
        {"scope": scope, "stored_mb": row["cache"], "cpu_seconds": row["cpu"], "memory_mb": row["memory"]}
        for scope in SCOPES
        for row in (found[scope],)
    ]
    rows.append(
        {"scope": "last, published loop", "cpu_seconds": loop["cpu"], "difference": loop["difference"]}
    )
    write_csv(pd.DataFrame(rows), TARGET)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        import torch

        torch.set_num_threads(1)
        where, task = Path(sys.argv[1]), sys.argv[2]
        outcome: dict[str, float] = {}
        if task == "record":
            record_once(where)
        elif task == "loop":
            outcome = loop(where)
        else:
            outcome = walk(where, task)
        print(json.dumps(outcome))
    else:
        main()
