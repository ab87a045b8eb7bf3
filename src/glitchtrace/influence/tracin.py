"""TracIn, in closed form on the head or by per-sample gradients of any layers.

Source: Pruthi et al. 2020; docs/methods/tracin.md#definition.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence import closed_form
from glitchtrace.influence.estimator import Estimator, EstimatorInputs, checkpoints, complete_settings
from glitchtrace.influence.factors import Factors

KIND = "estimator"
CARD = {
    "summary": "TracIn of the head in closed form, or of chosen layers by per-sample gradients.",
    "shares": ["passes", "blocks"],
    "defaults": {"memory_mib": 32},
    "settings": {
        "layers": {
            "description": "`head`, or a list of module names whose parameters all count.",
            "default": "head",
            "anyOf": [
                {"const": "head"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
            ],
        },
        "include_bias": {
            "description": "Whether the bias of the layers counts.",
            "default": True,
            "type": "boolean",
        },
        "counterfactual_include_bias": {
            "description": "Whether the bias counts in the influence under counterfactual labels.",
            "default": True,
            "type": "boolean",
        },
        "counterfactual_features": {
            "description": "Features under counterfactual labels: those of the influence itself (head), or "
            "the input of the last residual block at the last checkpoint (last_block_input).",
            "default": "head",
            "enum": ["head", "last_block_input"],
        },
        "gradient_memory_mib": {
            "description": "Memory of the per-sample gradients held at once, MiB, where layers are chosen.",
            "default": 256,
            "type": "number",
            "exclusiveMinimum": 0,
        },
    },
}


def open_cell(cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
    """The estimator of one cell; torch is imported only where layers or block inputs are asked for.

    Raises GlitchtraceError for settings that contradict each other or the network.
    """
    complete = complete_settings("tracin", settings)
    last_block = complete["counterfactual_features"] == "last_block_input"
    if last_block and (complete["counterfactual_epochs"] != "last" or complete["layers"] != "head"):
        raise GlitchtraceError(
            "counterfactual_features: last_block_input needs counterfactual_epochs: last and layers: head"
        )
    if complete["layers"] != "head":
        return _open_layers(cell, complete)
    return HeadInfluence(cell, complete)


class HeadInfluence(Estimator):
    """Influence of the head in closed form, from the factors alone."""

    def __init__(self, cell: EstimatorInputs, settings: Mapping[str, Any]) -> None:
        self._cell, self._settings = cell, settings
        self._factors = cell.factors.select(settings["epochs"])
        self._options = {"divide_by_batch_size": settings["divide_by_batch_size"]}
        self._include_bias: bool = settings["include_bias"]
        self._memory_mib: float = settings["memory_mib"]

    def blocks(
        self, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and their block of J, (b, m); see ``Estimator.blocks``."""
        factors, include_bias = (
            (self._factors, self._include_bias) if labels is None else self._counterfactual
        )
        return closed_form.influence_blocks(
            factors,
            labels=labels,
            epochs=epochs,
            include_bias=include_bias,
            memory_mib=self._memory_mib,
            **self._options,
        )

    def epoch_blocks(self) -> Iterator[tuple[slice, int, np.ndarray]]:
        """Rows, position of the checkpoint and J_t alone; see ``Estimator.epoch_blocks``."""
        return closed_form.epoch_blocks(
            self._factors, include_bias=self._include_bias, memory_mib=self._memory_mib, **self._options
        )

    def joint_blocks(self) -> Iterator[closed_form.JointBlock] | None:
        """Blocks whose Gram product serves other labels too, where the settings of both agree."""
        same_bias = self._settings["counterfactual_include_bias"] == self._include_bias
        if self._settings["counterfactual_features"] != "head" or not same_bias:
            return None
        return closed_form.joint_blocks(
            self._factors, include_bias=self._include_bias, memory_mib=self._memory_mib, **self._options
        )

    def self_influence_per_epoch(self) -> np.ndarray:
        """Self influence at each checkpoint alone, (T, n) float64."""
        return closed_form.self_influence_per_epoch(
            self._factors, include_bias=self._include_bias, **self._options
        )

    @cached_property
    def _counterfactual(self) -> tuple[Factors, bool]:
        """Factors of the influence under other labels, and whether the bias counts in it."""
        if self._settings["counterfactual_features"] == "head":
            return self._factors, self._settings["counterfactual_include_bias"]
        return self._last_block_factors(), False

    def _last_block_factors(self) -> Factors:
        """The factors with the input of the last block, at the last checkpoint, in place of the features."""
        from glitchtrace.influence.per_sample import last_block_inputs

        problem = self._cell.problem
        checkpoints(self._cell, self._settings)[-1].restore(problem.network)
        features = (
            last_block_inputs(problem.network, inputs, self._settings["batch"])
            for inputs in (problem.train, problem.validation)
        )
        train, validation = (
            replace(part, features=(array,))
            for part, array in zip((self._factors.train, self._factors.validation), features, strict=True)
        )
        return replace(self._factors, train=train, validation=validation)


def _open_layers(cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
    from glitchtrace.influence.per_sample import PerSampleInfluence, Samples

    return PerSampleInfluence(
        cell.problem.network,
        checkpoints(cell, settings),
        Samples(cell.problem.train, cell.factors.train.labels),
        Samples(cell.problem.validation, cell.factors.validation.labels),
        layers=settings["layers"],
        include_bias=settings["include_bias"],
        counterfactual_include_bias=settings["counterfactual_include_bias"],
        batch=settings["batch"],
        memory_mib=settings["gradient_memory_mib"],
    )
