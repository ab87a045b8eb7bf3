"""Do scores of counter-examples tell what leaving a sample out does?  The published evaluation of influence.

The model is fitted to the known samples, some with wrong labels.  x is the first test sample that it gets wrong, y
its true label.  For up to 100 known samples k annotated with the model's label of x, the model is fitted again
without k:

    change_k = −log p(y|x; θ_{−k}) + log p(y|x; θ),

and every negotiator scores the same samples with x in the place of the arriving one.  To first order the change is
(1/n) ∇ℓ(x, y)ᵀ H⁻¹ ∇ℓ(z_k), so that a score of the published sign should rise with it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.papers.cincer.dense import DenseNetwork
from glitchtrace.papers.cincer.gradients import Classifier
from glitchtrace.papers.cincer.problem import load_problem
from glitchtrace.papers.cincer.query import Query, largest_distance, load_negotiator
from glitchtrace.papers.cincer.settings import LoopSettings
from glitchtrace.papers.cincer.stage import Repeat, begin
from glitchtrace.papers.rdia.regression import Regression

CANDIDATES = 100
# Weight of ½‖θ‖² beside the mean loss in the refit ``optimum``: scikit-learn's C = 1/n, as published.
L2 = 1.0
Fit = Callable[[np.ndarray], None]


def measure_leave_one_out(
    *,
    features: str,
    changes: str,
    protocol: Mapping[str, Any],
    refit: str,
    negotiators: Mapping[str, Mapping[str, Any]],
    **named: Any,
) -> None:
    """Write one row per negotiator (name -> settings) and candidate: sample, wrong, loss_change, score.

    ``protocol``: see ``LoopSettings``; ``named``: what else ``Repeat`` holds.  ``sample`` is the row of the source;
    ``refit``: ``training``, the model's own, with the same draws each time, or ``optimum``, that of ``fit_optimum``.
    Raises GlitchtraceError where no test sample is misclassified or no known sample has its label.  A candidate that
    a negotiator leaves out has no score, NaN.
    """
    repeat = Repeat(protocol=LoopSettings(**protocol), **named)
    begun = begin(load_problem(features, bits=repeat.protocol.bits, split=repeat.protocol.split), repeat)
    problem, known, classifier = begun.problem, begun.start.known, begun.classifier
    inputs, labels = problem.inputs[known], begun.start.labels[known]

    def fit(rows: np.ndarray) -> None:
        if refit == "optimum":
            assert isinstance(classifier, DenseNetwork)
            fit_optimum(classifier, inputs[rows], labels[rows], len(inputs))
        else:
            classifier.fit(
                inputs[rows], labels[rows], generator(repeat.seed, f"cincer leave one out {repeat.repeat}")
            )

    fit(np.arange(len(known)))
    query = misclassified(classifier, inputs, labels, problem.test_inputs, problem.test_truth)
    chosen = np.sort(begun.rng.permutation(query.candidates)[:CANDIDATES])
    scores = {}
    for name, settings in negotiators.items():
        rank = load_negotiator(name, settings).rank
        assert rank is not None
        ranking = rank(query, begun.rng)
        assert ranking.scores is not None
        scores[name] = dict(zip(ranking.order.tolist(), ranking.scores.tolist(), strict=True))
    found = loss_changes(classifier, fit, query, chosen)
    tables = [
        pd.DataFrame(
            {
                "negotiator": name,
                "sample": problem.rows[known[chosen]],
                "wrong": labels[chosen] != problem.truth[known[chosen]],
                "loss_change": found,
                "score": [scored.get(candidate, float("nan")) for candidate in chosen.tolist()],
            }
        )
        for name, scored in scores.items()
    ]
    files.write_parquet(pd.concat(tables, ignore_index=True), changes)


def misclassified(
    classifier: Classifier,
    inputs: np.ndarray,
    labels: np.ndarray,
    test_inputs: np.ndarray,
    test_truth: np.ndarray,
) -> Query:
    """The first test sample that the model gets wrong, in the place of an arriving one; it is not among the known.

    Raises GlitchtraceError where there is none, or no known sample is annotated with the model's label of it.
    """
    probabilities = classifier.probabilities(test_inputs)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != test_truth)
    if not len(wrong):
        raise GlitchtraceError(
            "no test sample is misclassified; raise the ratio of wrong labels or lower known"
        )
    point = int(wrong[0])
    query = Query(
        classifier=classifier,
        inputs=np.concatenate([inputs, test_inputs[point : point + 1]]),
        labels=np.append(labels, test_truth[point]),
        known=range(len(inputs)),
        example=len(inputs),
        probabilities=probabilities[point],
        diameter=lambda _: largest_distance(inputs),
        whole_order=True,
    )
    if not len(query.candidates):
        raise GlitchtraceError(
            f"no known sample is annotated {query.predicted}, the model's label of the test sample; raise known"
        )
    return query


def loss_changes(classifier: Classifier, fit: Fit, query: Query, candidates: np.ndarray) -> np.ndarray:
    """Change of −log p(y|x) of the query's sample when each candidate is left out, (k,).

    ``fit``: fits the classifier to the given rows of the known samples; it is left fitted to all of them.
    """
    sample, rows = query.inputs[query.example :], np.asarray(query.known)

    def loss() -> float:
        return -float(np.log(classifier.probabilities(sample)[0, query.annotated]))

    before, found = loss(), []
    for candidate in candidates.tolist():
        fit(rows[rows != candidate])
        found.append(loss() - before)
    fit(rows)
    return np.array(found)


def fit_optimum(classifier: DenseNetwork, inputs: np.ndarray, labels: np.ndarray, samples: int) -> None:
    """Set a network of one layer to the minimiser of (1/n) Σ ℓ_i + ½‖θ‖², n being ``samples``.

    The bias is penalised as every weight, so that the curvature is that of the loss with damping 1; published was a
    model without bias.  Leaving a sample out leaves n as it is.  Of two classes the columns are opposite.
    """
    data = np.ones((len(inputs), classifier.widths[0] + 1))
    data[:, :-1] = classifier.flatten(inputs)
    # With columns (−w/2, w/2) the penalty is ¼‖w‖².
    weight = (2 if classifier.classes == 2 else 1) / (L2 * samples)
    regression = Regression(classifier.classes, weight)
    found = regression.fit(data, regression.one_hot(labels))
    if classifier.classes == 2:
        found = np.hstack([-found / 2, found / 2])
    classifier.parameters[:] = found.ravel()
