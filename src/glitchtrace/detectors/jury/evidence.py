"""What speaks for a proposed label: neighbours that have it, and held-out rows that the relabelling helps or hurts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glitchtrace.detectors.jury.kernel import KernelRidge
from glitchtrace.detectors.jury.neighbours import Neighbours
from glitchtrace.detectors.jury.rows import Rows
from glitchtrace.influence.closed_form import slices

SHOWN = 5
_HELD_ROWS = 20_000
_BLOCK = 2048  # held-out rows whose features are in memory at once


@dataclass(frozen=True)
class Evidence:
    """Why a row should have another label.

    ``supporters``: nearest rows of other units that have the proposed label, with their weights in the vote;
    ``opponents``: those that have the observed one.  ``helped``, ``hurt``: held-out rows and the change of their
    margin by the relabelling, the largest first; numbered as validation rows if ``held_out`` is "validation", as
    training rows if it is "training".
    """

    row: int
    observed: int
    proposed: int
    supporters: tuple[tuple[int, float], ...]
    opponents: tuple[tuple[int, float], ...]
    helped: tuple[tuple[int, float], ...]
    hurt: tuple[tuple[int, float], ...]
    held_out: str


def relabelling_effect(
    kernel: KernelRidge, changed: np.ndarray, held: np.ndarray, leave_out: bool
) -> np.ndarray:
    """By how much a unit of label at each changed row moves the fit at held-out rows (len(changed), len(held)).

    For ridge weights W = (Phi'Phi + lambda)⁻¹ Phi'Y it is phi_z' (Phi'Phi + lambda)⁻¹ phi_i: exact, since the fit is
    linear in the labels. ``leave_out``: held-out rows were themselves fitted; divided by 1 - h_zz it is the effect on
    their leave-one-out score, exact too.
    """
    shrunk = 1.0 / (kernel.eigenvalues + kernel.penalty)
    mine = kernel.projected(changed) * shrunk
    effect = np.empty((len(changed), len(held)))
    for part in slices(0, len(held), _BLOCK):
        other = kernel.projected(held[part])
        effect[:, part] = mine @ other.T
        if leave_out:
            effect[:, part] /= np.maximum(1 - np.square(other) @ shrunk, 1e-6)
    return effect


def gather_evidence(
    rows: Rows,
    kernel: KernelRidge,
    neighbours: Sequence[Neighbours],
    suspects: np.ndarray,
    proposed: np.ndarray,
    trusted: np.ndarray,
) -> dict[int, Evidence]:
    """Evidence on each of ``suspects`` (training rows), with ``proposed`` labels of the same order.

    Held-out rows: those of validation; without any, the ``trusted`` (n,) bool training rows of other units. A row z
    with label v gains (e_b - e_a)_v times the effect when row i goes from label a to b. The experts had seen the
    validation rows too, hence their leave-one-out score counts in both cases.
    """
    n = rows.training
    validated = len(rows) > n
    held = np.arange(n, len(rows)) if validated else np.flatnonzero(trusted)
    held = held[:: max(1, -(-len(held) // _HELD_ROWS))]
    found = {}
    step = max(1, 4_000_000 // max(len(held), 1))
    for part in slices(0, len(suspects), step):
        effects = relabelling_effect(kernel, suspects[part], held, True)
        for i, effect, label in zip(suspects[part], effects, proposed[part], strict=True):
            own = rows.labels[i]
            gain = effect * ((rows.labels[held] == label).astype(float) - (rows.labels[held] == own))
            gain[rows.units[held] == rows.units[i]] = 0
            order = np.argsort(-gain, kind="stable")
            number = held - n if validated else held
            found[int(i)] = Evidence(
                int(i),
                int(own),
                int(label),
                _voters(rows, neighbours, i, int(label)),
                _voters(rows, neighbours, i, int(own)),
                tuple((int(number[j]), float(gain[j])) for j in order[:SHOWN] if gain[j] > 0),
                tuple((int(number[j]), float(gain[j])) for j in order[::-1][:SHOWN] if gain[j] < 0),
                "validation" if validated else "training",
            )
    return found


def _voters(
    rows: Rows, neighbours: Sequence[Neighbours], row: int, label: int
) -> tuple[tuple[int, float], ...]:
    weight: dict[int, float] = {}
    for near in neighbours:
        for j, w in zip(near.index[row], near.weight[row], strict=True):
            # Neighbours are shown as training rows; validation rows speak as those helped.
            if 0 <= j < rows.training and rows.labels[j] == label:
                weight[int(j)] = weight.get(int(j), 0.0) + float(w) / len(neighbours)
    order = sorted(weight, key=lambda j: (-weight[j], j))
    return tuple((j, weight[j]) for j in order[:SHOWN])
