"""Cost of the influence engine beside the plain closed form and captum, as a Markdown table.

Run ``python benchmarks/influence_engine.py``.  Each figure is measured in a process of its own with one
thread: CPU seconds, the least of three calls; peak memory over the inputs during the first call, MiB; and the
largest difference from the plain closed form, relative to its largest entry.  Budgets: CPU within 1.5 × the
plain closed form; memory at most the matrix + 16 MiB, or 16 MiB + the profile where it is streamed;
difference at most 2e-5.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.influence import closed_form, tracin
from glitchtrace.influence.estimator import EstimatorInputs
from glitchtrace.influence.factors import Factors, Part
from glitchtrace.influence.profile import ClassProfile, ClassReducer, Profiles, build_profiles

SAMPLES, VALIDATION, CLASSES, EPOCHS = 4800, 1200, 10, 5
WIDTHS = (64, 768)
CPU_BUDGET, MEMORY_BUDGET, DIFFERENCE_BUDGET = 1.5, 16.0, 2e-5
MIB = 2**20

Results = dict[str, np.ndarray]


def make_inputs(width: int, frozen: bool) -> tuple[Factors, list[np.ndarray]]:
    """Factors of a linear head, and its weights (K, d + 1) at each checkpoint."""
    rng = np.random.default_rng(1)
    labels = {"train": rng.integers(0, CLASSES, SAMPLES), "validation": rng.integers(0, CLASSES, VALIDATION)}
    centres = rng.normal(size=(CLASSES, width))
    heads = [rng.normal(size=(CLASSES, width + 1)).astype(np.float32) for _ in range(EPOCHS)]
    parts = {}
    for name, y in labels.items():
        features, probabilities = [], []
        for head in heads:
            if not features or not frozen:
                noise = rng.normal(size=(len(y), width))
                features.append(((centres[y] + noise) / np.sqrt(width)).astype(np.float32))
            probabilities.append(_softmax(features[-1] @ head[:, :-1].T + head[:, -1]))
        parts[name] = Part(tuple(features), tuple(probabilities), y)
    rates = np.full(EPOCHS, 0.1)
    return Factors(rates, 128, parts["train"], parts["validation"]), heads


def plain_matrix(
    factors: Factors, labels: np.ndarray | None = None, epochs: range = range(EPOCHS)
) -> np.ndarray:
    """The closed form as written down: one line per checkpoint, whole matrices."""
    train, validation = factors.train, factors.validation
    identity = np.eye(CLASSES, dtype=np.float32)
    matrix = np.zeros((SAMPLES, VALIDATION), np.float32)
    for epoch in epochs:
        position = 0 if factors.frozen else epoch
        e = train.probabilities[epoch] - identity[train.labels if labels is None else labels]
        other = validation.probabilities[epoch] - identity[validation.labels]
        gram = train.features[position] @ validation.features[position].T + 1
        matrix += np.float32(factors.learning_rates[epoch]) * (e @ other.T) * gram
    return matrix


def plain_self(factors: Factors) -> np.ndarray:
    """Self influence as written down."""
    total = np.zeros(SAMPLES, np.float32)
    for epoch, rate in enumerate(factors.learning_rates):
        e = factors.train.probabilities[epoch] - np.eye(CLASSES, dtype=np.float32)[factors.train.labels]
        h = factors.train.features[0 if factors.frozen else epoch]
        total += np.float32(rate) * (e**2).sum(axis=1) * ((h**2).sum(axis=1) + 1)
    return total


def plain_tables(matrix: np.ndarray, validation_labels: np.ndarray) -> ClassProfile:
    """Class tables of a whole matrix, class by class."""
    columns = [matrix[:, validation_labels == label] for label in range(CLASSES)]
    return ClassProfile(
        np.stack([np.maximum(part, 0).sum(axis=1) for part in columns], axis=1),
        np.stack([np.minimum(part, 0).sum(axis=1) for part in columns], axis=1),
        np.stack([(part > 0).sum(axis=1) for part in columns], axis=1),
        np.stack([(part < 0).sum(axis=1) for part in columns], axis=1),
    )


def plain_profiles(factors: Factors) -> Results:
    """Cumulative, per-epoch and counterfactual class tables, one whole matrix after the other."""
    labels, last = factors.validation.labels, range(EPOCHS - 1, EPOCHS)
    cumulative = plain_tables(plain_matrix(factors), labels)
    single = [plain_tables(plain_matrix(factors, epochs=range(t, t + 1)), labels) for t in range(EPOCHS)]
    negative, positive = cumulative.negative.argmin(axis=1), np.argsort(-cumulative.positive, axis=1)[:, 1]
    tables = [cumulative, *single]
    tables += [plain_tables(plain_matrix(factors, other, last), labels) for other in (negative, positive)]
    return _arrays(tables)


def our_tables(factors: Factors) -> Results:
    """The cumulative class profile, streamed."""
    reducer = ClassReducer(factors.validation.labels, np.arange(CLASSES))
    return _arrays([reducer.reduce(closed_form.influence_blocks(factors))])


def our_profiles(factors: Factors) -> Results:
    """All profiles of the default settings, streamed."""
    estimator = tracin.open_cell(EstimatorInputs(lambda: factors, _no_problem), {})
    found: Profiles = build_profiles(estimator, factors.train.labels, factors.validation.labels)
    return _arrays(
        [found.cumulative, *found.per_epoch, found.counterfactual_negative, found.counterfactual_positive]
    )


def captum(name: str, factors: Factors, heads: list[np.ndarray]) -> Callable[[], Results]:
    """Captum's own class on the same head; frozen features are the inputs of the network."""
    import torch
    from captum.influence import TracInCP, TracInCPFast
    from torch.utils.data import TensorDataset

    torch.set_num_threads(1)
    network = torch.nn.Sequential(torch.nn.Linear(factors.train.features[0].shape[1], CLASSES))

    def restore(network: Any, head: np.ndarray) -> float:
        with torch.no_grad():
            network[0].weight.copy_(torch.from_numpy(head[:, :-1]))
            network[0].bias.copy_(torch.from_numpy(head[:, -1]))
        return float(factors.learning_rates[0])

    train, validation = (
        (torch.from_numpy(part.features[0]), torch.from_numpy(part.labels))
        for part in (factors.train, factors.validation)
    )
    common: dict[str, Any] = {
        "model": network,
        "train_dataset": TensorDataset(*train),
        "checkpoints": heads,
        "checkpoints_load_func": restore,
        "loss_fn": torch.nn.CrossEntropyLoss(reduction="sum"),
        "batch_size": 512,
    }
    instance = (
        TracInCP(layers=["0"], sample_wise_grads_per_batch=True, **common)
        if name == "TracInCP"
        else TracInCPFast(final_fc_layer=network[0], **common)
    )
    return lambda: {"matrix": instance.influence(validation).detach().numpy().T}


def subjects(factors: Factors, heads: list[np.ndarray]) -> Mapping[str, Callable[[], Callable[[], Results]]]:
    """Name -> a function that prepares the function to be measured."""
    tables = factors.validation.labels
    return {
        "matrix plain": lambda: lambda: {"matrix": plain_matrix(factors)},
        "matrix ours": lambda: lambda: {"matrix": closed_form.influence_matrix(factors)},
        "matrix captum TracInCP": lambda: captum("TracInCP", factors, heads),
        "matrix captum TracInCPFast": lambda: captum("TracInCPFast", factors, heads),
        "self plain": lambda: lambda: {"self": plain_self(factors)},
        "self ours": lambda: lambda: {"self": closed_form.self_influence(factors)},
        "class profile plain": lambda: lambda: _arrays([plain_tables(plain_matrix(factors), tables)]),
        "class profile ours": lambda: lambda: our_tables(factors),
        "all profiles plain": lambda: lambda: plain_profiles(factors),
        "all profiles ours": lambda: lambda: our_profiles(factors),
    }


def measure(name: str, width: int, frozen: bool) -> dict[str, Any]:
    """CPU seconds, peak memory over the inputs, size of the result, difference from the plain closed form."""
    factors, heads = make_inputs(width, frozen)
    table = subjects(factors, heads)
    function = table[name]()
    np.ones((256, 256), np.float32) @ np.ones((256, 256), np.float32)  # the buffers of BLAS are no part of it
    before = _reset_peak()
    seconds = []
    started = time.process_time()
    result = function()
    seconds.append(time.process_time() - started)
    peak = _memory("VmHWM") - before
    for _ in range(2):
        started = time.process_time()
        function()
        seconds.append(time.process_time() - started)
    if "TracInCPFast" in name:  # without the bias
        plain = {"matrix": closed_form.influence_matrix(factors, include_bias=False)}
    else:
        plain = table[f"{name.rsplit(' captum')[0].removesuffix(' ours').removesuffix(' plain')} plain"]()()
    difference = max(_difference(result[key], plain[key]) for key in plain if "count" not in key)
    size = sum(array.nbytes for array in result.values()) / MIB
    return {"seconds": min(seconds), "peak": peak / MIB, "size": size, "difference": difference}


def main() -> None:
    """Measure everything, each in its own process, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs=3, metavar=("NAME", "WIDTH", "FROZEN"), help=argparse.SUPPRESS)
    chosen = parser.parse_args().measure
    if chosen:
        print(json.dumps(measure(chosen[0], int(chosen[1]), chosen[2] == "frozen")))
        return
    print(f"n = {SAMPLES}, m = {VALIDATION}, K = {CLASSES}, T = {EPOCHS}, float32, one thread\n")
    print("| features | d | what | CPU s | × plain | peak MiB | result MiB | difference | budgets |")
    print("|---|---|---|---|---|---|---|---|---|")
    for width in WIDTHS:
        for features in ("changing", "frozen"):
            _print_rows(width, features)


def _print_rows(width: int, features: str) -> None:
    plain_seconds = 1.0
    for name in subjects(*make_inputs(8, features == "frozen")):
        if "captum" in name and features == "changing":
            continue
        found = _in_own_process(name, width, features)
        if name.endswith("plain"):
            plain_seconds = found["seconds"]
        ratio = found["seconds"] / plain_seconds
        verdict = _verdict(ratio, found) if name.endswith("ours") else ""
        print(
            f"| {features} | {width} | {name} | {found['seconds']:.3f} | {ratio:.2f} | {found['peak']:.1f} "
            f"| {found['size']:.1f} | {found['difference']:.1e} | {verdict} |",
            flush=True,
        )


def _in_own_process(name: str, width: int, features: str) -> dict[str, Any]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-W", "ignore", __file__, "--measure", name, str(width), features]
    finished = subprocess.run(command, env=os.environ | threads, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def _verdict(ratio: float, found: Mapping[str, float]) -> str:
    missed = [
        name
        for name, value, budget in (
            ("CPU", ratio, CPU_BUDGET),
            ("memory", found["peak"] - found["size"], MEMORY_BUDGET),
            ("difference", found["difference"], DIFFERENCE_BUDGET),
        )
        if value > budget
    ]
    return f"fail: {', '.join(missed)}" if missed else "pass"


def _arrays(tables: list[ClassProfile]) -> Results:
    return {
        f"{index}/{field.name}": getattr(profile, field.name)
        for index, profile in enumerate(tables)
        for field in fields(profile)
    }


def _difference(found: np.ndarray, plain: np.ndarray) -> float:
    return float(np.abs(found - plain).max() / np.abs(plain).max())


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return scaled


def _no_problem() -> Any:
    raise AssertionError("the closed form needs no network")


def _reset_peak() -> int:
    """Give freed memory back and set the peak to what is resident now (Linux); return that in bytes."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    main()
