"""The project's own signals of a recorded training, from the states after its epochs."""

import numpy as np

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.influence_signals import score
from glitchtrace.influence.estimator import EstimatorInputs
from glitchtrace.influence.estimator import Problem as Passes
from glitchtrace.influence.estimators import tracin
from glitchtrace.influence.factors import assemble_factors
from glitchtrace.influence.profile import Profiles, build_profiles
from glitchtrace.papers.cleansing.problem import Problem
from glitchtrace.training.record import Part, Recorder


def signal(problem: Problem, name: str) -> np.ndarray:
    """The scores (n,) of one registered signal by TracIn of the head, at the states after each epoch.

    The profiles behind them are made once for all signals of a problem.
    """
    if not problem.profiles:
        problem.profiles.append(_profiles(problem))
    settings = registry.card("estimator", "tracin")["settings"]
    return score(name, problem.profiles[0], {key: fragment["default"] for key, fragment in settings.items()})


def _profiles(problem: Problem) -> Profiles:
    """One pass over training and validation samples per epoch, without augmentation; then the closed form."""
    cell, trace = problem.setting.cell, problem.trace
    parts = {
        "train": Part(cell.train, cell.train_labels),
        "validation": Part(cell.validation, cell.validation_labels),
    }
    recorder = Recorder(
        problem.network,
        parts,
        learning_rate=float(trace.rates[0]),
        batch_size=trace.batches.shape[1],
        evaluation_batch=problem.evaluation_batch,
        device=problem.device,
    )
    for epoch in range(trace.epochs):
        problem.restore(epoch)
        recorder.record(epoch + 1)
    tensors = recorder.factors()
    tensors["learning_rates"] = trace.rates[:: trace.steps_per_epoch]
    factors = assemble_factors(tensors)
    return build_profiles(
        tracin.open_cell(EstimatorInputs(lambda: factors, _no_passes), {}),
        cell.train_labels,
        cell.validation_labels,
        per_epoch=False,
    )


def _no_passes() -> Passes:
    raise GlitchtraceError("the closed form of the head needs no pass through the network")
