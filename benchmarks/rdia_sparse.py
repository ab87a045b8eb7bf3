"""Cost of RDIA on sparse rows of the size of real-sim: 60,000 × 20,000 with 50 entries per row, never made dense.

    python benchmarks/rdia_sparse.py

prints the CPU seconds of the first fit, of the influence by conjugate gradients and of the refit on the relabelled
rows, the solver's products and residual, and the peak memory of the process.
"""

import json
import time

import numpy as np
from scipy.sparse import csr_matrix

from glitchtrace.core.jobs import peak_kib
from glitchtrace.papers.rdia.influence import measure
from glitchtrace.papers.rdia.regression import Regression

ROWS, COLUMNS, ENTRIES, VALIDATION = 60_000, 20_000, 50, 18_000
NOISE = 0.5


def main() -> None:
    """Made rows of two classes, half of whose labels are wrong; then the three stages."""
    rng = np.random.default_rng(0)
    X = _rows(rng, ROWS + VALIDATION)
    labels = (X @ rng.standard_normal(COLUMNS) > 0).astype(np.int64)
    train, validation = X[:ROWS], X[ROWS:]
    observed = np.where(rng.random(ROWS) < NOISE, 1 - labels[:ROWS], labels[:ROWS])
    regression = Regression(2, 0.1)
    targets = regression.one_hot(observed)
    clock = [time.process_time()]
    parameters = regression.fit(train, targets)
    clock.append(time.process_time())
    found = measure(regression, parameters, train, observed, validation, labels[ROWS:])
    clock.append(time.process_time())
    regression.fit_moving(train, targets, observed, found.harmful(0.0), parameters)
    clock.append(time.process_time())
    stages = dict(zip(("fit", "influence", "refit"), np.diff(clock).round(2).tolist(), strict=True))
    print(
        json.dumps(
            {
                **{f"{stage}, CPU seconds": seconds for stage, seconds in stages.items()},
                "products": found.solution.iterations,
                "residual": found.solution.residual,
                "peak MiB": round(peak_kib() / 1024),
            },
            indent=1,
        )
    )


def _rows(rng: np.random.Generator, count: int) -> csr_matrix:
    indices = rng.integers(COLUMNS, size=count * ENTRIES)
    values = np.full(count * ENTRIES, 1 / np.sqrt(ENTRIES))
    return csr_matrix((values, indices, np.arange(0, count * ENTRIES + 1, ENTRIES)), shape=(count, COLUMNS))


if __name__ == "__main__":
    main()
