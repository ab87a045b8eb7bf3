"""Influence functions of Koh and Liang (2017) at the final parameters."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.influence.sgd_influence import koh_liang
from glitchtrace.influence.solvers import conjugate_gradients, lissa
from glitchtrace.papers.cleansing.problem import Problem, Scored

KIND = "cleansing_method"
CARD = {
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
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "LiSSA: more than the largest eigenvalue of the damped Hessian.",
            "default": 25.0,
        },
        "batch": {
            "type": "integer",
            "minimum": 1,
            "description": "Samples per step of LiSSA and `sgd`.",
            "default": 1000,
        },
        "learning_rate": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Rate of `sgd`.",
            "default": 0.005,
        },
        "momentum": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Momentum of `sgd`.",
            "default": 0.9,
        },
        "start": {
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
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of each sample.  Raises GlitchtraceError where the solver diverges."""
    loss = koh_liang.TrainingLoss(
        problem.network,
        problem.final_state(),
        problem.setting.cell.train,
        problem.labels,
        problem.evaluation_batch,
    )
    u, damping = problem.validation_gradient, settings["damping"]
    system = koh_liang.system(loss, damping, settings["batch"])
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
        solution = koh_liang.published_sgd(
            loss,
            u,
            damping,
            learning_rate=settings["learning_rate"],
            momentum=settings["momentum"],
            epochs=settings["iterations"],
            batch=settings["batch"],
            start=settings["start"],
        )
    influence = koh_liang.influence(loss, solution.vector)
    return Scored(influence if settings["compat"]["opposite_sign"] else -influence)
