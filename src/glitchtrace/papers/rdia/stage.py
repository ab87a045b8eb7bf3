"""Stages: fit the first model of a cell and measure influence; relabel under one method and train again."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.core.seeding import generator
from glitchtrace.evaluation.detection import auroc
from glitchtrace.papers.rdia.data import Cell, load_cell
from glitchtrace.papers.rdia.influence import measure
from glitchtrace.papers.rdia.proposal import Problem, Proposal
from glitchtrace.papers.rdia.regression import Regression
from glitchtrace.repair.actions import Action
from glitchtrace.repair.plans import Plan

_EPSILON = np.finfo(np.float64).eps


def measure_rdia(
    *,
    features: Sequence[str],
    split: str,
    glitch: str,
    influence: str,
    fit: str,
    learner: str,
    settings: Mapping[str, Any],
) -> None:
    """Fit the learner to the observed labels; write ``influence.parquet`` and ``fit.safetensors``.

    The table has one row per training sample: ``sample``, ``label`` (observed), ``probability`` of it, and
    ``influence`` Φ and ``relabel_influence``, positive where harmful.  The tensors are the ``parameters``, s as
    ``inverse_product`` (both in their shape), and the solver's ``iterations`` and ``residual``.  Raises
    GlitchtraceError for an empty validation set, and where fit or solver do not arrive.
    """
    cell = load_cell(features=features, split=split, glitch=glitch)
    regression = registry.load("learner", learner).build(cell.classes, settings)
    train, validation = cell.train, cell.validation
    parameters = regression.fit(train.X, regression.one_hot(train.labels))
    found = measure(
        regression,
        parameters,
        train.X,
        train.labels,
        validation.X,
        validation.labels,
        units=settings["units"],
        solver=settings["solver"],
        settings=settings["solver_settings"],
    )
    table = pd.DataFrame(
        {
            "sample": np.arange(len(train.labels)),
            "label": train.labels,
            "probability": found.probabilities[np.arange(len(train.labels)), train.labels],
            "influence": found.deletion,
            "relabel_influence": found.relabelling,
        }
    )
    files.write_tensors(
        {
            "parameters": parameters,
            "inverse_product": found.solution.vector.reshape(parameters.shape),
            "iterations": np.array([found.solution.iterations]),
            "residual": np.array([found.solution.residual]),
        },
        fit,
    )
    files.write_parquet(table, influence)


def relabel_rdia(
    *,
    features: Sequence[str],
    split: str,
    glitch: str,
    influence: str,
    fit: str,
    repaired: str,
    gain: str,
    learner: str,
    learner_settings: Mapping[str, Any],
    relabelling: str,
    settings: Mapping[str, Any],
    seed: int,
) -> None:
    """Relabel a cell under one method and train again; write ``repaired.parquet`` and ``gain.parquet``.

    ``repaired``: ``policy``, ``sample``, ``action``, ``label`` as of every repair.  ``gain``: one row per part
    (validation, test) with ``log_loss``, ``accuracy``, ``auc``, the ``alpha`` (NaN where the method has none),
    the numbers ``relabelled`` and ``dropped``, and ``precision`` and ``recall`` of the samples acted on against
    the wrong labels.  With a null α each of ``alphas`` is tried and the one with the least validation loss after
    retraining is kept, the first of several.  Raises GlitchtraceError as the methods do.
    """
    cell = load_cell(features=features, split=split, glitch=glitch)
    regression = registry.load("learner", learner).build(cell.classes, learner_settings)
    parameters = files.read_tensors(fit)["parameters"]
    problem = Problem(
        regression=regression,
        X=cell.train.X,
        labels=cell.train.labels,
        validation=cell.validation.X,
        validation_labels=cell.validation.labels,
        parameters=parameters,
        probabilities=regression.probabilities(parameters, cell.train.X),
        influence=files.read_parquet(influence)["influence"].to_numpy(),
        mislabelled=int(cell.mislabelled.sum()),
    )
    tried = []
    for alpha in _alphas(settings):
        # The same draws for every threshold, as for a study that gives it.
        rng = generator(seed, f"relabelling by {registry.base_name(relabelling)}")
        proposal = registry.load("relabelling", relabelling).propose(problem, alpha, settings, rng)
        fitted = retrain(problem, proposal)
        loss = log_loss(regression.probabilities(fitted, cell.validation.X), cell.validation.labels)
        tried.append((loss, alpha, proposal, fitted))
    _, alpha, proposal, fitted = min(tried, key=lambda found: found[0])
    files.write_parquet(Plan(proposal.actions, proposal.labels).table(relabelling), repaired)
    files.write_parquet(_gain(cell, regression, fitted, proposal, alpha), gain)


def retrain(problem: Problem, proposal: Proposal) -> np.ndarray:
    """The parameters (d, q) fitted to a proposal: from 0 where the objective is convex, else from θ̂."""
    if proposal.changes_nothing:
        return problem.parameters
    if proposal.moving.any():
        return problem.regression.fit_moving(
            problem.X, proposal.targets, problem.labels, proposal.moving, problem.parameters
        )
    return problem.regression.fit(problem.X, proposal.targets)


def _alphas(settings: Mapping[str, Any]) -> list[float]:
    if "alpha" not in settings:
        return [float("nan")]
    return list(settings["alphas"]) if settings["alpha"] is None else [settings["alpha"]]


def _gain(
    cell: Cell, regression: Regression, parameters: np.ndarray, proposal: Proposal, alpha: float
) -> pd.DataFrame:
    """One row per held-out part."""
    acted = proposal.actions != Action.KEEP
    precision, recall = precision_recall(acted, cell.mislabelled)
    rows = []
    for name, part in (("validation", cell.validation), ("test", cell.test)):
        probabilities = regression.probabilities(parameters, part.X)
        rows.append(
            {
                "part": name,
                "log_loss": log_loss(probabilities, part.labels),
                "accuracy": accuracy(probabilities, part.labels),
                "auc": area_under_curve(probabilities, part.labels),
                "alpha": alpha,
                "relabelled": int((proposal.actions == Action.RELABEL).sum()),
                "dropped": int((proposal.actions == Action.DROP).sum()),
                "precision": precision,
                "recall": recall,
            }
        )
    return pd.DataFrame(rows)


# --- measures


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of −ln φ of the label, φ (n, K) cut at machine epsilon; NaN of no sample."""
    chosen = np.clip(probabilities[np.arange(len(labels)), labels], _EPSILON, 1 - _EPSILON)
    return -float(np.log(chosen).mean()) if len(labels) else math.nan


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Share of samples whose label is the most probable class, the lowest of several; NaN of no sample."""
    return float((probabilities.argmax(axis=1) == labels).mean()) if len(labels) else math.nan


def area_under_curve(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve of two classes, ties counted half; NaN with more classes or one class only."""
    return auroc(probabilities[:, 1], labels == 1) if probabilities.shape[1] == 2 else math.nan


def precision_recall(chosen: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Share of the ``chosen`` that are ``wrong``, and of the wrong that are chosen, (n,) bool; NaN of none."""
    hits = int((chosen & wrong).sum())
    return (
        hits / int(chosen.sum()) if chosen.any() else math.nan,
        hits / int(wrong.sum()) if wrong.any() else math.nan,
    )
