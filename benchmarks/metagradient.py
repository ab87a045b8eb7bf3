"""The metagradient of a head within its budget: 4,800 training and 1,200 validation samples, 64 columns, 10 classes.

    python benchmarks/metagradient.py

measures, with one thread, the CPU seconds and the peak memory over the inputs of everything that the signals are made
of (class profiles, self influence, counterfactual labels) through 1,500 steps of batches of 64, and ends with 1 above
25 CPU seconds or 300 MiB.  A matrix product stands beside, as the yardstick of the machine.
"""

import sys
import time

import numpy as np
from influence_engine import MIB, _memory, _reset_peak
from threadpoolctl import threadpool_limits

from glitchtrace.influence import metagradient
from glitchtrace.influence.profile import build_profiles

SAMPLES, VALIDATION, WIDTH, CLASSES, STEPS, BATCH = 4800, 1200, 64, 10, 1500, 64
CPU_SECONDS, MEMORY = 25, 300


def main() -> int:
    """Measure; 1 where a budget is missed."""
    rng = np.random.default_rng(0)
    labels, others = rng.integers(0, CLASSES, SAMPLES), rng.integers(0, CLASSES, VALIDATION)
    centres = rng.normal(size=(CLASSES, WIDTH))

    def inputs(of: np.ndarray) -> np.ndarray:
        noisy = (centres[of] + rng.normal(size=(len(of), WIDTH))) / np.sqrt(WIDTH)
        return np.column_stack([noisy, np.ones(len(of))]).astype(np.float32)

    batches = [rng.choice(SAMPLES, BATCH, replace=False) for _ in range(STEPS)]
    start = np.zeros((CLASSES, WIDTH + 1), np.float32)
    with threadpool_limits(1):
        record = metagradient.record_training(
            inputs(labels), labels, start, batches, np.full(STEPS, 0.1, np.float32)
        )
        queries = inputs(others)
        square = np.ones((2048, 2048), np.float32)
        started = time.process_time()
        square @ square
        yardstick = time.process_time() - started
        del square
        before = _reset_peak()
        started = time.process_time()
        build_profiles(metagradient.of_head(record, queries, others), labels, others, per_epoch=False)
        seconds = time.process_time() - started
        memory = (_memory("VmHWM") - before) / MIB
    print(f"{seconds:.1f} CPU s of {CPU_SECONDS}, {memory:.0f} MiB of {MEMORY} over the inputs")
    print(f"yardstick, a product of two 2,048 x 2,048 matrices: {yardstick:.3f} CPU s")
    return int(seconds > CPU_SECONDS or memory > MEMORY)


if __name__ == "__main__":
    sys.exit(main())
