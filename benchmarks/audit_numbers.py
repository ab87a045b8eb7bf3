"""The promise of the audit of numeric targets against planted errors: docs/tables/audit_numbers.csv.

python benchmarks/audit_numbers.py FIRST COUNT   audits, seeds FIRST … FIRST + COUNT - 1; then python docs/audit.py

800 rows of five features with targets whose right values scatter in different ways or share a value, and the 442
patients of scikit-learn's diabetes set, whose own errors, if any, count as right.  Of the values 4 % are made wrong: by
another row's value, ten times as large, eight standard deviations off, or -999; or a single one is made 1e30.
Thresholds were chosen on seeds below 100.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import glitchtrace
from glitchtrace.core.files import replacing

TABLE = Path("docs/tables/audit_numbers.csv")
ROWS, WRONG = 800, 0.04
TARGETS = (
    "even scatter",
    "scatter by a feature",
    "one-sided scatter",
    "prices",
    "counts",
    "small counts",
    "zeros told",
    "zeros not told",
    "cut at both ends",
    "rounded",
    "heavy tails",
    "hardly told",
    "not told",
    "diabetes",
)
ERRORS = ("none", "another row's value", "ten times as large", "eight deviations off", "-999", "one is 1e30")


def target(name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features and right values."""
    if name == "diabetes":
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True)
        order = rng.permutation(len(y))
        return x[order], y[order]
    x = rng.normal(size=(ROWS, 5))
    told = 2 * x[:, 0] + 1.5 * np.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3]
    free = rng.normal(size=ROWS)
    made = {
        "even scatter": lambda: told + 0.5 * free,
        "scatter by a feature": lambda: told + 0.5 * np.exp(0.8 * x[:, 4]) * free,
        "one-sided scatter": lambda: told + rng.exponential(0.7, ROWS),
        "prices": lambda: np.exp(0.5 * told + 0.3 * free),
        "counts": lambda: rng.poisson(np.exp(0.4 * told + 1)).astype(float),
        "small counts": lambda: rng.poisson(np.exp(0.3 * told + 0.3)).astype(float),
        "zeros told": lambda: np.where(
            told + free > 0, np.exp(4 + 0.5 * told + 0.3 * rng.normal(size=ROWS)), 0
        ),
        "zeros not told": lambda: np.where(rng.random(ROWS) < 0.4, 0, np.exp(4 + 0.5 * told + 0.3 * free)),
        "cut at both ends": lambda: np.clip(told + 0.5 * free, -2, 2.5),
        "rounded": lambda: 100 * np.round(np.exp(0.5 * told + 0.3 * free + 1.6)),
        "heavy tails": lambda: told + 0.5 * rng.standard_t(3, ROWS),
        "hardly told": lambda: 0.3 * told + 2 * free,
        "not told": lambda: free,
    }
    return x, made[name]()


def spoil(y: np.ndarray, error: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Values with errors, and whether each is wrong."""
    wrong = np.zeros(len(y), dtype=bool)
    values = y.copy()
    if error == "none":
        return values, wrong
    rows = rng.choice(len(y), round(WRONG * len(y)), replace=False)
    if error == "another row's value":
        values[rows] = rng.permutation(y)[rows]
    elif error == "ten times as large":
        values[rows] *= 10
    elif error == "-999":
        values[rows] = -999
    elif error == "one is 1e30":
        rows = rows[:1]
        values[rows] = 1e30
    else:
        values[rows] += rng.choice([-8, 8], len(rows)) * y.std()
    wrong[rows] = values[rows] != y[rows]
    return values, wrong


def audit(name: str, error: str, seed: int) -> dict[str, object]:
    """One audit: what was flagged, and what of it was right to flag."""
    rng = np.random.default_rng([seed, TARGETS.index(name), ERRORS.index(error)])
    x, y = target(name, rng)
    values, wrong = spoil(y, error, rng)
    found = glitchtrace.audit(x, values, task="numbers", gain_repeats=0, seed=seed)
    rows = found.issues.row[found.issues.verdict == "mislabelled"].to_numpy()
    number = found.summary["wrong_labels"] or {}
    judged = "unjudged" not in found.summary["facts"]
    return {
        "target": name,
        "error": error,
        "seed": seed,
        "judged": judged,
        "wrong": int(wrong.sum()),
        "flagged": len(rows),
        "false": int((~wrong[rows]).sum()),
        "estimate": number.get("estimate") if judged else None,
        "low": number.get("low") if judged else None,
        "high": number.get("high") if judged else None,
    }


def main(first: int, count: int) -> None:
    """Every target with every error, and the table."""
    warnings.simplefilter("ignore")
    runs = [
        audit(name, error, seed)
        for seed in range(first, first + count)
        for name in TARGETS
        for error in ERRORS
    ]
    with replacing(TABLE) as part:
        pd.DataFrame(runs).to_csv(part, index=False)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
