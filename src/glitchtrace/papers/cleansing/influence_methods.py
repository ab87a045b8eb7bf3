"""Methods of data cleansing that go by influence, and removal at random: which samples to remove first.

* SGD-influence with the parameters before each step, over all epochs or the last (Hara et al. 2019), with the final
  parameters throughout, so that one set is kept (Suzuki et al. 2021), over all epochs too, which is not published: the
  final parameters stand badly for those of early steps where these move far.  Without its Hessian it is a gradient
  product of every step, a variant in the code of Hara et al.
* Koh and Liang's influence functions at the final parameters, and TracIn with the parameters after each epoch.
* The project's own signals SI and CNCI of the head over the recorded epochs.

Source: docs/methods/sgd-influence.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.influence_signals import score
from glitchtrace.influence import sgd_influence as influences
from glitchtrace.influence import tracin as estimator_of_heads
from glitchtrace.influence.estimator import EstimatorInputs, complete_settings
from glitchtrace.influence.estimator import Problem as Passes
from glitchtrace.influence.factors import assemble_factors
from glitchtrace.influence.profile import Profiles, build_profiles
from glitchtrace.influence.sgd_influence import sgd_influence
from glitchtrace.influence.solvers import conjugate_gradients, lissa
from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.training.record import Part, Recorder

KIND = "cleansing_method"
CARDS = {
    "sgd_all": {
        "label": "SGD-influence, all epochs",
        "summary": "SGD-influence over all epochs, from the parameters before each step.",
        "snapshots": "all",
        "shares": ["credits", "hessian"],
    },
    "sgd_last": {
        "label": "SGD-influence, last epoch",
        "summary": "SGD-influence over the last epoch, from the parameters before each step.",
        "snapshots": "last",
        "shares": ["credits", "hessian"],
    },
    "sgd_final": {
        "label": "SGD-influence, final parameters",
        "summary": "SGD-influence over the last epoch with the final parameters at every step: no snapshots.",
        "shares": ["credits", "hessian"],
    },
    "sgd_final_all": {
        "label": "SGD-influence, final parameters, all epochs",
        "summary": "SGD-influence over all epochs with the final parameters at every step: no snapshots.",
        "shares": ["credits", "hessian"],
    },
    "sgd_no_hessian": {
        "label": "gradient products, all epochs",
        "summary": "Gradient products over all epochs, from the parameters before each step, without the Hessian.",
        "snapshots": "all",
        "shares": "credits",
    },
    "koh_liang": {
        "label": "Koh & Liang",
        "summary": "Influence functions at the final parameters, (H + λI)⁻¹ by conjugate gradients, LiSSA or SGD.",
        "settings": {
            "solver": {
                "enum": ["conjugate_gradients", "lissa", "sgd"],
                "description": "How the damped system is solved; `sgd` is the solver of the published programs.",
                "default": "conjugate_gradients",
            },
            "damping": {
                "type": "number",
                "minimum": 0,
                "description": "λ; published: 0.1 for MNIST and STL-10, 10 for CIFAR-10.",
                "default": 0.1,
            },
            "tolerance": {
                "only_with": {"solver": ["conjugate_gradients"]},
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "Residual of conjugate gradients, relative to the validation gradient.",
                "default": 0.01,
            },
            "iterations": {
                "type": "integer",
                "minimum": 1,
                "description": "Most steps of conjugate gradients; steps of LiSSA; epochs of `sgd`.",
                "default": 100,
            },
            "scale": {
                "only_with": {"solver": ["lissa"]},
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "LiSSA: more than the largest eigenvalue of the damped Hessian.",
                "default": 25.0,
            },
            "batch": {
                "only_with": {"solver": ["lissa", "sgd"]},
                "type": "integer",
                "minimum": 1,
                "description": "Samples per step of LiSSA and `sgd`.",
                "default": 1000,
            },
            "learning_rate": {
                "only_with": {"solver": ["sgd"]},
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "Rate of `sgd`.",
                "default": 0.005,
            },
            "momentum": {
                "only_with": {"solver": ["sgd"]},
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "Momentum of `sgd`.",
                "default": 0.9,
            },
            "start": {
                "only_with": {"solver": ["sgd"]},
                "enum": ["zero", "gradient"],
                "description": "Where `sgd` starts.",
                "default": "zero",
            },
            "compat": {
                "type": "object",
                "additionalProperties": False,
                "description": "Switches that reproduce the published code.",
                "properties": {
                    "opposite_sign": {
                        "type": "boolean",
                        "description": "Rank by −r, as two of the published programs do: the helpful samples go first.",
                        "default": False,
                    },
                },
            },
        },
    },
    "tracin": {
        "label": "TracIn",
        "summary": "Gradient products of sample and validation loss at the parameters after each epoch.",
    },
    "self_influence": {
        "label": "self influence",
        "summary": "The signal SI, from the states after each epoch of the recorded training.",
        "reads": "epochs",
        "uses": {"detector": ["SI"]},
    },
    "cnci": {
        "label": "CNCI",
        "summary": "The signal CNCI, from the states after each epoch of the recorded training.",
        "reads": "epochs",
        "uses": {"detector": ["CNCI"]},
    },
    "random": {
        "label": "random",
        "summary": "Samples in random order, one order per trial.",
        "reads": "nothing",
    },
}


@dataclass(frozen=True)
class CleansingMethod:
    """A member of the family: problem and settings give the scores."""

    score: Callable[[Problem, Mapping[str, Any]], Scored]


def _walk(
    problem: Problem,
    settings: Mapping[str, Any],
    *,
    epochs: str,
    parameters: str = "trace",
    hessian: bool = True,
) -> Scored:
    """Score −r: a sample whose removal should lower the validation loss comes first.

    ``epochs``: ``all`` or ``last``; ``parameters``: ``trace`` for those before each step, ``final`` for the
    last ones throughout.  ``settings`` may hold the ``compat`` options of the method.
    """
    trace, compat = problem.trace, settings.get("compat", {})
    scopes = sgd_influence(
        problem.network,
        problem.setting.samples,
        trace,
        problem.validation_gradient,
        snapshots=problem.snapshots if parameters == "trace" else None,
        first_epoch=0 if epochs == "all" else trace.epochs - 1,
        hessian=hessian,
        hvp_scale="legacy" if compat.get("divide_hessian_twice") else "mean",
        bn=settings["batch_norm"],
    )
    return Scored(-scopes[:, 0], scopes)


def koh_liang(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of each sample.  Raises GlitchtraceError where the solver diverges."""
    loss = influences.TrainingLoss(
        problem.network,
        problem.final_state(),
        problem.setting.cell.train,
        problem.labels,
        problem.evaluation_batch,
    )
    u, damping = problem.validation_gradient, settings["damping"]
    system = influences.koh_liang_system(loss, damping, settings["batch"])
    if settings["solver"] == "conjugate_gradients":
        solution = conjugate_gradients(
            system,
            u,
            tolerance=settings["tolerance"],
            limit=settings["iterations"],
            indefinite="stop",
            unfinished="log",
        )
    elif settings["solver"] == "lissa":
        solution = lissa(system, u, scale=settings["scale"], depth=settings["iterations"], seed=problem.seed)
    else:
        solution = influences.published_sgd(
            loss,
            u,
            damping,
            learning_rate=settings["learning_rate"],
            momentum=settings["momentum"],
            epochs=settings["iterations"],
            batch=settings["batch"],
            start=settings["start"],
        )
    influence = influences.koh_liang(loss, solution.vector)
    return Scored(influence if settings["compat"]["opposite_sign"] else -influence)


def tracin(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of each sample."""
    cell = problem.setting.cell
    return Scored(
        -influences.tracin(
            problem.network,
            problem.trace,
            cell.train,
            problem.labels,
            cell.validation,
            cell.validation_labels,
            problem.evaluation_batch,
        )
    )


def at_random(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """Uniform values, drawn with the seed of the trial: each number of samples takes the first of one order."""
    return Scored(generator(problem.seed, "cleansing at random").random(len(problem.labels)))


def own_signal(name: str) -> Callable[[Problem, Mapping[str, Any]], Scored]:
    """The scores of one of the project's own signals, higher = more suspicious."""
    return lambda problem, settings: Scored(_signal(problem, name))


def _signal(problem: Problem, name: str) -> np.ndarray:
    """The scores (n,) of one registered signal by TracIn of the head, at the states after each epoch.

    The profiles behind them are made once for all signals of a problem.
    """
    if not problem.profiles:
        problem.profiles.append(_profiles(problem))
    return score(name, problem.profiles[0], complete_settings("tracin", {}))


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
        estimator_of_heads.open_cell(EstimatorInputs(lambda: factors, _no_passes), {}),
        cell.train_labels,
        cell.validation_labels,
        per_epoch=False,
    )


def _no_passes() -> Passes:
    raise GlitchtraceError("the closed form of the head needs no pass through the network")


COMPONENTS = {
    "sgd_all": CleansingMethod(partial(_walk, epochs="all")),
    "sgd_last": CleansingMethod(partial(_walk, epochs="last")),
    "sgd_final": CleansingMethod(partial(_walk, epochs="last", parameters="final")),
    "sgd_final_all": CleansingMethod(partial(_walk, epochs="all", parameters="final")),
    "sgd_no_hessian": CleansingMethod(partial(_walk, epochs="all", hessian=False)),
    "koh_liang": CleansingMethod(koh_liang),
    "tracin": CleansingMethod(tracin),
    "self_influence": CleansingMethod(own_signal("SI")),
    "cnci": CleansingMethod(own_signal("CNCI")),
    "random": CleansingMethod(at_random),
}
