"""The learners of an audit: small, deterministic, and compared by what they say of rows they have not seen."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.audit.representation import Representation

_BOOSTED_CLASSES = 12  # boosting fits a tree per class and round
_LINEAR_CELLS = 4 * 10**8  # rows × columns × classes beyond which a line is fitted on a part


@dataclass(frozen=True)
class Learner:
    """``make(seed)`` gives a scikit-learn estimator; ``view``: the matrix that it takes."""

    name: str
    view: str
    said: str
    make: Callable[[int], Any]


def learners(views: Representation, classes: int) -> dict[str, Learner]:
    """The candidates by name, for rows of this number and form; ``classes`` 0 for a numeric target."""
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    (rows, columns), table = views.lines.shape, views.trees is not None
    found: list[Learner] = []
    if classes == 0:
        found.append(
            Learner("linear", "lines", "ridge regression", lambda seed: RidgeCV(np.logspace(-1, 4, 6)))
        )
        if table:
            found.append(
                Learner(
                    "boosted_trees", "trees", "gradient-boosted trees",
                    lambda seed: HistGradientBoostingRegressor(
                        loss="squared_error", max_iter=100, max_leaf_nodes=15, early_stopping=False, random_state=seed
                    ),
                )
            )  # fmt: skip
            if rows <= 50_000:
                found.append(
                    Learner(
                        "extra_trees", "trees", "extra-trees, 100 trees",
                        lambda seed: ExtraTreesRegressor(100, min_samples_leaf=2, max_features=0.5, random_state=seed),
                    )
                )  # fmt: skip
        if rows <= 20_000:
            found.append(
                Learner(
                    "network", "lines", "a network of one hidden layer",
                    lambda seed: MLPRegressor(hidden_layer_sizes=(64,), alpha=1.0, max_iter=60, random_state=seed),
                )
            )  # fmt: skip
        return {learner.name: learner for learner in found}
    for strength in (0.01, 0.1, 1.0):
        found.append(
            Learner(
                f"linear_{strength:g}", "lines", f"multinomial logistic regression, C = {strength:g}",
                lambda seed, strength=strength: LogisticRegression(C=strength, max_iter=60, tol=1e-3),  # type: ignore[misc]
            )
        )  # fmt: skip
    deepest = None if rows <= 50_000 else 18
    if table:
        if rows <= 50_000 or classes > _BOOSTED_CLASSES:
            found.append(
                Learner(
                    "extra_trees", "trees", "extra-trees, 120 trees",
                    lambda seed: ExtraTreesClassifier(
                        120, min_samples_leaf=2, max_features=max(0.3, columns**-0.5), max_depth=deepest,
                        random_state=seed,
                    ),
                )
            )  # fmt: skip
        if classes <= _BOOSTED_CLASSES:
            found.append(
                Learner(
                    "boosted_trees", "trees", "gradient-boosted trees",
                    lambda seed: HistGradientBoostingClassifier(
                        max_iter=60, max_leaf_nodes=15, learning_rate=0.1, l2_regularization=1.0, early_stopping=False,
                        random_state=seed,
                    ),
                )
            )  # fmt: skip
    if table and rows <= 20_000 and classes <= 100:
        found.append(
            Learner(
                "network", "lines", "a network of one hidden layer",
                lambda seed: MLPClassifier(hidden_layer_sizes=(64,), alpha=1.0, max_iter=40, random_state=seed),
            )
        )  # fmt: skip
    return {learner.name: learner for learner in found}


def predict(
    learner: Learner,
    views: Representation,
    y: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    classes: int,
    seed: int,
) -> np.ndarray:
    """What a learner fitted on rows ``train`` says of rows ``test``: (b, K) probabilities, or (b,) numbers."""
    matrix = views.trees if learner.view == "trees" and views.trees is not None else views.lines
    model = learner.make(seed)
    fitted = train
    if learner.name.startswith("linear_") and len(train) * matrix.shape[1] * classes > _LINEAR_CELLS:
        fitted = train[:: -(-len(train) * matrix.shape[1] * classes // _LINEAR_CELLS)]
    known, asked = matrix[fitted], matrix[test]
    if "extra" in learner.name:
        known, asked = np.nan_to_num(known, nan=-1e6), np.nan_to_num(asked, nan=-1e6)
    empty = np.isnan(known).all(axis=0)
    if empty.any():  # boosting cannot cut a column without a single value in these rows
        known, asked = np.where(empty, 0.0, known), np.where(empty, 0.0, asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an iteration limit is no fault here: the held-out likelihood judges
        model.fit(known, y[fitted])
        if classes == 0:
            return np.asarray(model.predict(asked), dtype=np.float64)
        found = model.predict_proba(asked)
    whole = np.zeros((len(test), classes))
    whole[:, model.classes_] = found
    return floored(whole)


def floored(p: np.ndarray) -> np.ndarray:
    """Probabilities of at least 1e-4/K, rows summing to one."""
    p = np.maximum(np.nan_to_num(p), 1e-4 / p.shape[1])
    result: np.ndarray = p / p.sum(axis=1, keepdims=True)
    return result


def loss(y: np.ndarray, found: np.ndarray, classes: int) -> float:
    """Held-out loss: −mean log p(label), or the mean absolute error in units of the median deviation."""
    if classes:
        return float(-np.log(found[np.arange(len(y)), y]).mean())
    return float(np.abs(y - found).mean() / max(float(np.abs(y - np.median(y)).mean()), 1e-12))
