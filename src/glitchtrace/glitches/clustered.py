"""Clustered class noise: labels flip where a weak probe errs, to the class that the probe says."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.data.preprocess import VectorInputs
from glitchtrace.glitches.table import Foreign, clean_rows, mislabel, number_of_glitches

KIND = "glitch"
CARD = {
    "summary": (
        "Clustered class noise: floor(ratio·n) labels flip where a weak probe of the rows themselves errs, to the "
        "class that the probe says."
    ),
    "modalities": ["image", "table"],
    "label_repair": True,
    "foreign": False,
    # The probe reads the rows, not the labels alone.
    "reads_rows": True,
    "settings": {
        "dimensions": {
            "type": "integer",
            "minimum": 1,
            "description": "Principal components that the probe sees: fewer make it weaker.",
            "default": 8,
        },
        "probe_rows": {
            "type": "integer",
            "minimum": 20,
            "description": "Samples that the probe is fitted on, drawn with the seed; all where there are fewer.",
            "default": 1000,
        },
    },
}

_BLOCK = 4096  # rows prepared at a time
_SMALLEST = 1e-12  # a probability that odds can be taken of


def inject(
    table: pd.DataFrame,
    *,
    ratio: float,
    seed: int,
    classes: int,
    settings: Mapping[str, Any],
    foreign: Mapping[str, Foreign],
    rows: VectorInputs,
) -> pd.DataFrame:
    """Mislabel k = floor(ratio·n) of the clean samples, drawn by the odds of a probe against their own class.

    q: probabilities of the probe (see ``probe``); b: its most probable class but the own y.  The k samples are drawn
    without replacement with weights q_b / q_y, and take the label b.  ``rows``: the samples of the table as vectors,
    in its order.  Source: docs/methods/glitches.md#clustered-label-noise.  Raises GlitchtraceError where k is 0 or
    exceeds the clean samples.
    """
    candidates = clean_rows(table)
    count = number_of_glitches(ratio, len(table), len(candidates))
    labels = table["label"].to_numpy()
    draws = generator(seed, "clustered noise")
    found = np.maximum(probe(rows, labels, candidates, classes, settings, draws), _SMALLEST)[candidates]
    places, own = np.arange(len(candidates)), labels[candidates]
    mine = found[places, own].copy()
    found[places, own] = 0.0
    other = found.argmax(axis=1)
    # The k largest of log weight + Gumbel noise are k weighted draws without replacement.
    keys = np.log(found[places, other]) - np.log(mine) + draws.gumbel(size=len(candidates))
    chosen = np.sort(np.argsort(-keys, kind="stable")[:count])
    return mislabel(table, candidates[chosen], other[chosen])


def probe(
    rows: VectorInputs,
    labels: np.ndarray,
    candidates: np.ndarray,
    classes: int,
    settings: Mapping[str, Any],
    draws: np.random.Generator,
) -> np.ndarray:
    """Probabilities (n, classes) of a logistic regression on few principal components of few samples.

    Both are fitted on ``probe_rows`` of the ``candidates``; a class that none of these has gets probability 0.
    Raises GlitchtraceError where they are all of one class.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    size = min(settings["probe_rows"], len(candidates))
    fitted = np.sort(draws.choice(candidates, size, replace=False))
    if len(np.unique(labels[fitted])) < 2:
        raise GlitchtraceError(
            f"probe_rows: the {size} samples drawn for the probe are all of class {labels[fitted[0]]}; raise it"
        )
    vectors = rows.batch(fitted).numpy()
    components = PCA(min(settings["dimensions"], *vectors.shape), svd_solver="full").fit(vectors)
    model = LogisticRegression(max_iter=1000).fit(components.transform(vectors), labels[fitted])
    probabilities = np.zeros((len(rows), classes))
    for first in range(0, len(rows), _BLOCK):
        block = slice(first, first + _BLOCK)
        probabilities[block, model.classes_] = model.predict_proba(
            components.transform(rows.batch(block).numpy())
        )
    return probabilities
