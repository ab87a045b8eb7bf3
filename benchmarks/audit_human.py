"""Errors that people found: the audit beside cleanlab's scores, docs/tables/audit_human.csv.

python benchmarks/audit_human.py SET …        of MNIST, CIFAR-10, "20 Newsgroups"

Each adds its lines to the table; delete it to begin anew.  Needs GLITCHTRACE_DATA.  The test sets come with
cross-validated probabilities, which both are given; a row is wrong where fewer than three of five people chose its
label.  People saw only rows that confident learning had proposed, which favours its kin: all others count as right.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from glitchtrace.audit.judgement import judge
from glitchtrace.audit.learners import floored

TABLE = Path("docs/tables/audit_human.csv")
CHECKED = {"MNIST": "mnist", "CIFAR-10": "cifar10", "20 Newsgroups": "20news"}


def cleanlab_score(labels: np.ndarray, probabilities: np.ndarray, adjusted: bool) -> np.ndarray:
    """Self-confidence, the default score of cleanlab; higher is more suspicious."""
    from cleanlab.rank import get_label_quality_scores

    return -get_label_quality_scores(labels, probabilities, adjust_pred_probs=adjusted)


def lines(name: str, given: str, wrong: np.ndarray, scores: dict[str, tuple[np.ndarray, float]]) -> None:
    """Add the rows of one set."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    for method, (score, seconds) in scores.items():
        record = {
            "set": name,
            "given": given,
            "rows": len(wrong),
            "wrong": int(wrong.sum()),
            "method": method,
            "auroc": round(float(roc_auc_score(wrong, score)), 4),
            "average_precision": round(float(average_precision_score(wrong, score)), 4),
            "cpu_seconds": round(seconds, 1),
        }
        pd.DataFrame([record]).to_csv(TABLE, mode="a", header=not TABLE.is_file(), index=False)


def timed(make) -> tuple[np.ndarray, float]:
    """A score and what it took."""
    start = time.process_time()
    return make(), time.process_time() - start


def checked(name: str, stem: str) -> None:
    """One test set whose candidates people have looked at."""
    root = Path(os.environ["GLITCHTRACE_DATA"]) / "labels/label_errors"
    with np.load(root / f"{stem}_test_cv_probs.npz") as z:
        probabilities = z["pyx"].astype(np.float64)
        labels = z["original_labels"].astype(np.int64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    wrong = np.zeros(len(labels), dtype=bool)
    for each in json.loads((root / f"{stem}_mturk.json").read_text()):
        wrong[int(each["id"])] = int(each["mturk"]["given"]) < 3
    classes = probabilities.shape[1]
    experts = {"your model": floored(probabilities)}
    scores = {
        "glitchtrace": timed(lambda: judge(experts, labels, classes, 0.1, 0).score),
        "cleanlab": timed(lambda: cleanlab_score(labels, probabilities, False)),
        "cleanlab, adjusted": timed(lambda: cleanlab_score(labels, probabilities, True)),
    }
    lines(name, "probabilities", wrong, scores)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        checked(given, CHECKED[given])
