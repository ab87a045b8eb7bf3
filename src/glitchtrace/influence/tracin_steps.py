"""TracIn at every step of a recorded training in place of checkpoints, for a softmax head.

J_ij = Σ_{t: i ∈ B_t} (η_t/|B_t|) (e_ti · e_tj)(h̃_i · h̃_j), with e = p − onehot(y) before step t: what the steps that
held i did to the loss of j, to first order in the rate.  It is the metagradient without its Hessians, with the gradient
of j at each step in place of that at the end.

Source: Pruthi et al. 2020, section 3.1 ("TracInIdeal", over batches); docs/methods/tracin.md#every-step.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.estimator import Estimator, EstimatorInputs, complete_settings
from glitchtrace.influence.metagradient import (
    Metagradient,
    RecordedHead,
    Walked,
    probabilities,
    repeated_head,
    slices_of_queries,
    validation_inputs,
)

KIND = "estimator"
CARD = {
    "label": "TracIn per step",
    "summary": "TracIn at every step of the training in place of checkpoints, of a softmax head.",
    "shares": "blocks",
    "trained": ["head"],
    "without": {
        "epochs": "it is that of all steps, each by its batch",
        "divide_by_batch_size": "it is that of all steps, each by its batch",
    },
    "defaults": {"memory_mib": 256},
}


def open_cell(cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
    """The estimator of one cell, whose training is repeated step by step; see ``metagradient.open_cell``.

    Raises GlitchtraceError where more than a head is trained, and as ``metagradient.open_cell``.
    """
    complete = complete_settings("tracin_steps", settings)
    if cell.training is None:
        raise GlitchtraceError("tracin_steps needs the settings and the seed of the training; give both")
    if not cell.head_alone:
        raise GlitchtraceError(
            "tracin_steps goes through the training of one linear head; choose tracin, or the model linear"
        )
    record = repeated_head(cell)
    queries, labels = validation_inputs(cell, record), cell.factors.validation.labels
    return StepInfluence(record, queries, labels, memory_mib=complete["memory_mib"])


class StepInfluence(Metagradient):
    """TracIn of all steps of a recorded head; ``queries`` (m, D) as its inputs, ``query_labels`` (m,)."""

    def __init__(
        self, record: RecordedHead, queries: np.ndarray, query_labels: np.ndarray, *, memory_mib: float
    ) -> None:
        def walked(validation: bool) -> Iterator[tuple[slice, Walked]]:
            return along_steps(record, queries, query_labels, memory_mib=memory_mib)

        super().__init__(walked, record.labels, query_labels, record.classes, memory_mib=memory_mib)
        self._record = record

    def self_influence_per_epoch(self) -> np.ndarray:
        """Σ_t (η_t/|B_t|) ‖e_ti‖² ‖h̃_i‖², (1, n) float64."""
        record = self._record
        found = np.zeros(len(record.labels))
        for rows, rate, weights in zip(record.batches, record.rates, record.states[:-1], strict=True):
            residual = _residuals(record.inputs[rows], record.labels[rows], weights)
            np.add.at(found, rows, rate / len(rows) * np.vecdot(residual, residual))
        return np.asarray(found * np.vecdot(record.inputs, record.inputs))[None]


def along_steps(
    record: RecordedHead, queries: np.ndarray, query_labels: np.ndarray, *, memory_mib: float
) -> Iterator[tuple[slice, Walked]]:
    """What the steps tell of all samples and blocks of queries, as ``metagradient.walk`` gives it."""
    samples, dtype = len(record.inputs), record.inputs.dtype
    for columns in slices_of_queries(record, len(queries), memory_mib):
        asked, labels = queries[columns], query_labels[columns]
        mean = np.zeros((samples, len(asked)), dtype)
        sums = np.zeros((samples, len(asked), record.classes), dtype)
        for rows, rate, weights in zip(record.batches, record.rates, record.states[:-1], strict=True):
            gram = record.inputs[rows] @ asked.T * dtype.type(rate / len(rows))
            other = _residuals(asked, labels, weights)
            np.add.at(sums, rows, gram[:, :, None] * other)
            np.add.at(mean, rows, gram * (probabilities(record.inputs[rows], weights) @ other.T))
        yield columns, Walked(mean, sums)


def _residuals(inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """P − onehot(y), (rows, K)."""
    found: np.ndarray = probabilities(inputs, weights)
    found[np.arange(len(labels)), labels] -= 1
    return found
