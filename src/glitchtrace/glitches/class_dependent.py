"""Class-dependent noise: labels of a class turn into others, by a cyclic shift or a matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion
from glitchtrace.core.seeding import generator
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import Foreign, mislabel

KIND = "glitch"
CARD = {
    "summary": (
        "Class-dependent noise: floor(ratio·|class|) samples of one class, several or all turn into another "
        "class, or into classes drawn by a transition matrix."
    ),
    "modalities": ["image", "table", "sparse"],
    "label_repair": True,
    "foreign": False,
    "labels_only": True,
    "settings": {
        "classes_to_contaminate": {
            "type": ["integer", "string", "null"],
            "minimum": 1,
            "pattern": "^all$",
            "per_class": True,
            "description": (
                "Number of source classes, in an order shuffled with the seed; `all`; null: 1, or all with a "
                "transition matrix."
            ),
            "default": None,
        },
        "transition_matrix": {
            "type": ["string", "array", "null"],
            "pattern": "^(pair_flip|dominant_target)$",
            "items": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}},
            "per_class": True,
            "description": (
                "Where the labels of class c go: null for its neighbour in the shuffled order; `pair_flip` "
                "for c + 1 mod K; `dominant_target` for c + 1 mod K in 3 of 4 cases, else any other class; "
                "or K rows (true label) of K probabilities (observed label). The diagonal is left out and "
                "the rest of the row scaled to 1, because the ratio sets how many samples flip; a row "
                "without mass off the diagonal leaves its class clean."
            ),
            "default": None,
        },
        "compat": {
            "type": "object",
            "description": "Switches that reproduce the published code.",
            "additionalProperties": False,
            "properties": {
                "class_noise_reseeds_each_draw": {
                    "type": "boolean",
                    "description": "Seed the generator anew for each class: the same pattern in every class.",
                    "default": False,
                }
            },
            "default": {},
        },
    },
}

DOMINANT_SHARE = 0.75


def inject(
    table: pd.DataFrame,
    *,
    ratio: float,
    seed: int,
    classes: int,
    settings: Mapping[str, Any],
    foreign: Mapping[str, Foreign],
) -> pd.DataFrame:
    """Mislabel floor(ratio·|c|) clean samples of each source class c; |c| counts the labels before any flip.

    The classes are shuffled with the seed to u_0 … u_{K−1}; the first ``classes_to_contaminate`` of them are
    sources.  Without a matrix u_j turns into u_{j−1}, and u_0 into u_{K−1}.  With a matrix T each flipped
    sample of class c draws its label b ≠ c with probability T_cb / (1 − T_cc) from one generator; sources are
    the classes whose row has mass off the diagonal.  Source:
    docs/methods/glitches.md#class-dependent-label-noise.

    The order of the classes is a permutation, and the samples are draws, of NumPy's legacy generator seeded
    with the seed for each: these reproduce the published choice for one class.
    ``compat.class_noise_reseeds_each_draw`` seeds it anew for each class, which reproduces it for several.

    Raises GlitchtraceError for an impossible setting, and where no sample would be hit or a class has too
    few.
    """
    order = np.random.RandomState(seed).permutation(classes)
    targets = transition_matrix(settings.get("transition_matrix"), order)
    possible = [source for source in order if targets[source].any()]
    reseed = settings.get("compat", {}).get("class_noise_reseeds_each_draw", False)
    observed = table["label"].to_numpy()
    clean = table["kind"].to_numpy() == Kind.CLEAN
    picks, draws = np.random.RandomState(seed), generator(seed, "class-dependent noise")
    marked, labels = [], []
    for source in possible[: _number_of_sources(settings, len(possible))]:
        members = observed == source
        candidates = np.flatnonzero(members & clean)
        count = portion(ratio, int(members.sum()))
        if count > len(candidates):
            raise GlitchtraceError(
                f"ratio {ratio} of class {source} is {count} samples, but only {len(candidates)} are clean; "
                "lower the ratio"
            )
        picks = np.random.RandomState(seed) if reseed else picks
        marked.append(picks.choice(candidates, count, replace=False))
        labels.append(draws.choice(classes, size=count, p=targets[source]))
    positions = np.concatenate(marked)
    if not len(positions):
        raise GlitchtraceError(
            f"ratio {ratio} is no sample of any source class; raise the ratio or use more samples"
        )
    return mislabel(table, positions, np.concatenate(labels))


def transition_matrix(given: str | list[list[float]] | None, order: np.ndarray) -> np.ndarray:
    """Probability (K, K) of the observed label (column) of a flipped sample given its true label (row).

    The diagonal is 0; a row sums to 1, or to 0 where the class stays clean.  ``given``: the setting;
    ``order``: the K classes, shuffled.  Raises GlitchtraceError where a given matrix is not K×K and
    row-stochastic.
    """
    classes = len(order)
    matrix = np.zeros((classes, classes))
    following = np.roll(np.arange(classes), -1)
    if given is None:
        matrix[order, np.roll(order, 1)] = 1.0
    elif given == "pair_flip":
        matrix[np.arange(classes), following] = 1.0
    elif given == "dominant_target":
        matrix[:] = (1 - DOMINANT_SHARE) / max(classes - 2, 1)
        matrix[np.arange(classes), following] = DOMINANT_SHARE
    elif isinstance(given, str):
        raise GlitchtraceError(
            f"transition_matrix: unknown preset '{given}'; use pair_flip, dominant_target or a matrix"
        )
    else:
        matrix = _stochastic(given, classes)
    np.fill_diagonal(matrix, 0.0)
    mass = matrix.sum(axis=1, keepdims=True)
    result: np.ndarray = np.divide(matrix, mass, out=np.zeros_like(matrix), where=mass > 0)
    return result


def _stochastic(given: list[list[float]], classes: int) -> np.ndarray:
    """The given matrix, checked."""
    try:
        matrix = np.array(given, dtype=float)
    except ValueError:
        matrix = np.empty(0)
    if matrix.shape != (classes, classes):
        raise GlitchtraceError(f"transition_matrix: {classes} rows of {classes} numbers are needed")
    bad = ~((matrix >= 0).all(axis=1) & np.isclose(matrix.sum(axis=1), 1.0, rtol=0, atol=1e-6))
    if bad.any():
        row = int(bad.argmax())
        raise GlitchtraceError(
            f"transition_matrix: row {row} is not a distribution (sum {matrix[row].sum():g}); "
            "its numbers must be 0 or more and sum to 1"
        )
    if not (matrix.sum(axis=1) > matrix.diagonal()).any():
        raise GlitchtraceError("transition_matrix: no row has mass off the diagonal; no label would change")
    return matrix


def _number_of_sources(settings: Mapping[str, Any], available: int) -> int:
    """How many classes are sources, of those that can be."""
    wanted = settings.get("classes_to_contaminate")
    if wanted is None:
        return 1 if settings.get("transition_matrix") is None else available
    if wanted == "all":
        return available
    if isinstance(wanted, str) or not 1 <= wanted <= available:
        raise GlitchtraceError(
            f"classes_to_contaminate: {wanted} is not a number from 1 to {available} (classes that can "
            "turn into others); give such a number or 'all'"
        )
    result: int = wanted
    return result
