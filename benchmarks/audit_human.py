"""Errors that people found: the audit beside cleanlab, docs/tables/audit_human.csv.

python benchmarks/audit_human.py SET …                of MNIST, CIFAR-10, "20 Newsgroups"
python benchmarks/audit_human.py features SET FILE    from features, which go into FILE.npz for Datalab; SET also
                                                      "CIFAR-10N aggregate" or "CIFAR-10N worst"
ENV/bin/python benchmarks/audit_human.py datalab SET … FILE.npz …

Each adds its lines to the table; delete it to begin anew.  Needs GLITCHTRACE_DATA.  The test sets come with
cross-validated probabilities, which both are given; a row is wrong where fewer than three of five people chose its
label.  People saw only rows that confident learning had proposed, which favours its kin: all others count as right.

Features: those of the audit (EfficientNet-Lite1 at 128 pixels; directions of TF-IDF), on which all learn the labels of
the set itself; cleanlab is given probabilities of a logistic regression in five folds.  CIFAR-10N: the first 4,000
training pictures with the labels that people gave them, wrong where CIFAR-10 says otherwise.  Datalab is run by an
environment of its own, which needs neither glitchtrace nor this checkout:
uv venv ENV; uv pip install --python ENV/bin/python 'cleanlab[datalab]==2.9.0'.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

TABLE = Path("docs/tables/audit_human.csv")
CHECKED = {"MNIST": "mnist", "CIFAR-10": "cifar10", "20 Newsgroups": "20news"}
PEOPLE = {"CIFAR-10N aggregate": "aggre_label", "CIFAR-10N worst": "worse_label"}


def cleanlab_score(labels: np.ndarray, probabilities: np.ndarray, adjusted: bool) -> np.ndarray:
    """Self-confidence, the default score of cleanlab; higher is more suspicious."""
    from cleanlab.rank import get_label_quality_scores

    return -get_label_quality_scores(labels, probabilities, adjust_pred_probs=adjusted)


def lines(name: str, kind: str, wrong: np.ndarray, scores: dict[str, tuple[np.ndarray, float]]) -> None:
    """Add the rows of one set."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    for method, (score, seconds) in scores.items():
        record = {
            "set": name,
            "given": kind,
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


def given(stem: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,), cross-validated probabilities (n, K) and which labels people refused (n,) of one test set."""
    root = Path(os.environ["GLITCHTRACE_DATA"]) / "labels/label_errors"
    with np.load(root / f"{stem}_test_cv_probs.npz") as z:
        probabilities = z["pyx"].astype(np.float64)
        labels = z["original_labels"].astype(np.int64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    wrong = np.zeros(len(labels), dtype=bool)
    for each in json.loads((root / f"{stem}_mturk.json").read_text()):
        wrong[int(each["id"])] = int(each["mturk"]["given"]) < 3
    return labels, probabilities, wrong


def by_people(column: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) that people gave to the first 4,000 training pictures of CIFAR-10, and which are wrong (n,)."""
    root = Path(os.environ["GLITCHTRACE_DATA"])
    with np.load(root / "labels/cifar10n_human_labels.npz") as z:
        labels = z[column][:4000].astype(np.int64)
    with np.load(root / "CIFAR10/cifar10_lossless_5000.npz") as z:
        return labels, labels != z["y_train"]


def checked(name: str, stem: str) -> None:
    """One test set whose candidates people have looked at."""
    from glitchtrace.audit.judgement import judge
    from glitchtrace.audit.learners import floored

    labels, probabilities, wrong = given(stem)
    experts = {"your model": floored(probabilities)}
    scores = {
        "glitchtrace": timed(lambda: judge(experts, labels, probabilities.shape[1], 0.1, 0).score),
        "cleanlab": timed(lambda: cleanlab_score(labels, probabilities, False)),
        "cleanlab, adjusted": timed(lambda: cleanlab_score(labels, probabilities, True)),
    }
    lines(name, "probabilities", wrong, scores)


def from_features(name: str, target: Path) -> None:
    """The audit of the labels of one set from its features, which are kept for Datalab, and cleanlab beside it."""
    import tempfile

    from glitchtrace.audit.run import audit_path

    stem = CHECKED.get(name, "cifar10n")
    if name in PEOPLE:
        labels, wrong = by_people(PEOPLE[name])
    else:
        labels, _, wrong = given(stem)
    root = Path(os.environ["GLITCHTRACE_DATA"])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if stem == "20news":
            table = pd.read_parquet(root / "text/20newsgroups_bydate.parquet")
            table = table[table.split == "test"]
            table.assign(y=labels.astype(str))[["text", "y"]].to_parquet(folder / "set.parquet", index=False)
            data, settings = folder / "set.parquet", {"label": "y", "text": "text"}
        else:
            data, settings = folder / "set", {}
            for row, picture in enumerate(pictures(stem, root)):
                (data / str(labels[row])).mkdir(parents=True, exist_ok=True)
                picture.save(data / str(labels[row]) / f"{row}.png")
        features, found, seconds = audited(audit_path, data, settings)
    rows = (
        found.row.to_numpy() if stem == "20news" else found.id.map(lambda id: int(Path(id).stem)).to_numpy()
    )
    score, order = np.empty(len(labels)), np.empty(len(labels), dtype=np.int64)
    score[rows] = found.score_label
    order[rows] = found.row
    features = features[order]
    rival = timed(lambda: cleanlab_score(labels, regressed(features, labels), False))
    lines(name, "features", wrong, {"glitchtrace": (score, seconds), "cleanlab": rival})
    np.savez(target, name=name, features=features, labels=labels, wrong=wrong)


def regressed(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities (n, K) of a logistic regression, out of five folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=1000)
    return cross_val_predict(model, features, labels, cv=folds, method="predict_proba")


def audited(audit_path, data: Path, settings: dict[str, str]) -> tuple[np.ndarray, pd.DataFrame, float]:
    """What the audit saw of each row, what it says of them, and the seconds it took."""
    from unittest import mock

    from glitchtrace.audit import run

    seen = []

    def represent(*given):
        seen.append(run_represent(*given))
        return seen[-1]

    run_represent = run._represent
    start = time.process_time()
    with mock.patch.object(run, "_represent", represent):
        found = audit_path(data, gain_repeats=0, **settings).issues
    return seen[0][1].lines, found, time.process_time() - start


def pictures(stem: str, root: Path):
    """The pictures of a set in their official order."""
    import io
    import itertools

    from PIL import Image

    if stem == "mnist":
        from glitchtrace.data.datasets.idx import read_idx

        yield from map(Image.fromarray, read_idx(root / "MNIST/raw/t10k-images-idx3-ubyte.gz", 3))
        return
    if stem == "cifar10n":
        with np.load(root / "CIFAR10/cifar10_lossless_5000.npz") as z:
            yield from map(Image.fromarray, z["x_train"])
        return
    with np.load(root / "CIFAR10/cifar10_test_jpeg.npz") as z:
        content, offsets = z["jpeg"].tobytes(), z["offsets"]
    for first, end in itertools.pairwise(offsets):
        yield Image.open(io.BytesIO(content[first:end]))


def datalab(name: str, kind: str, labels: np.ndarray, wrong: np.ndarray, **evidence: np.ndarray) -> None:
    """Datalab's label score from ``features`` or ``pred_probs``; higher is more suspicious."""
    from cleanlab import Datalab

    def score() -> np.ndarray:
        lab = Datalab({"label": labels}, label_name="label", verbosity=0)
        lab.find_issues(**evidence, issue_types={"label": {}})
        return -lab.get_issues("label")["label_score"].to_numpy()

    lines(name, kind, wrong, {"Datalab": timed(score)})


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "features":
        from_features(rest[0], Path(rest[1]))
    elif what == "datalab":
        for each in rest:
            if each in CHECKED:
                labels, probabilities, wrong = given(CHECKED[each])
                datalab(each, "probabilities", labels, wrong, pred_probs=probabilities)
            else:
                with np.load(each) as z:
                    datalab(str(z["name"]), "features", z["labels"], z["wrong"], features=z["features"])
    else:
        for each in (what, *rest):
            checked(each, CHECKED[each])
