"""Influence by the eigenvalue-corrected Kronecker factors of the Fisher matrix (EK-FAC), of dense layers.

J_ij = (1/n) Σ_l ⟨G_il, (F_l + λ_l I)⁻¹ G_jl⟩ at the last checkpoint: G_il = δ_il ⊗ ã_il is the gradient of i's loss by
layer l, ã_il = [a; 1] what goes into the layer and δ_il the gradient by what comes out, and F_l is the Fisher matrix
of the layer in the eigenvectors of two small matrices,

    A = mean_i ã ãᵀ = Q_A … Q_Aᵀ,   S = mean_i E_y δ δᵀ = Q_S … Q_Sᵀ,
    F_l ≈ (Q_S ⊗ Q_A) diag(Λ) (Q_S ⊗ Q_A)ᵀ,   Λ = mean_i E_y (Q_Sᵀ δ)² ⊗ (Q_Aᵀ ã)²,

labels y by the model's own probabilities.  Here these expectations are sums over the classes, not draws: with
D_c = ∂logit_c/∂(output of the layer), δ for the label y is Σ_c p_c D_c − D_y.  Layers do not act on each other.

Source: George et al. 2018; Grosse et al. 2023, section 3; docs/methods/influence-functions.md#ek-fac.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.closed_form import residuals, rows_in, slices
from glitchtrace.influence.estimator import (
    Estimator,
    EstimatorInputs,
    OneCheckpoint,
    checkpoints,
    complete_settings,
)
from glitchtrace.influence.factors import Part, check_labels, check_positions

if TYPE_CHECKING:
    from glitchtrace.data.preprocess import Inputs
    from glitchtrace.models.network import Network

KIND = "estimator"
CARD = {
    "label": "EK-FAC",
    "summary": "Influence functions by the Kronecker-factored Fisher matrix of dense layers, at the last checkpoint.",
    "shares": ["passes", "blocks"],
    "trained": ["head", "dense"],
    "without": {"divide_by_batch_size": "there is no learning rate to divide"},
    "settings": {
        "layers": {
            "description": "All trained layers, which must be dense, or the head.",
            "default": "trained",
            "enum": ["trained", "head"],
        },
        "damping": {
            "description": "Added to the eigenvalues; null: a tenth of their mean.",
            "default": None,
            "anyOf": [{"type": "null"}, {"type": "number", "exclusiveMinimum": 0}],
        },
    },
}
_SHARE = 0.1

# Per layer: ã (b, I + 1) and D (b, K, O).
Pass = list[tuple[np.ndarray, np.ndarray]]


def open_cell(cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
    """The estimator of one cell; torch is imported only where more than a head is asked for.

    Raises GlitchtraceError for trained layers that are not dense.
    """
    complete = complete_settings("ekfac", settings)
    factors = cell.factors.select(complete["epochs"])
    sides: list[HeadSide] | list[NetworkSide]
    if complete["layers"] == "head" or cell.head_alone:
        sides = [HeadSide(part) for part in (factors.train, factors.validation)]
    else:
        problem, last = cell.problem, checkpoints(cell, complete)[-1]
        last.restore(problem.network)
        names = dense_layers(problem.network)
        sides = [
            NetworkSide(part, problem.network, names, inputs)
            for part, inputs in ((factors.train, problem.train), (factors.validation, problem.validation))
        ]
    return Ekfac(
        *sides, damping=complete["damping"], batch=complete["batch"], memory_mib=complete["memory_mib"]
    )


@dataclass(frozen=True)
class HeadSide:
    """One side of the matrix as the head sees it, from the factors alone: its outputs are the logits, D is I."""

    part: Part

    def layers(self, rows: slice) -> Pass:
        """Inputs of the layer and its D, of some rows."""
        features = self.part.features_at(-1)[rows]
        classes = self.part.probabilities[-1].shape[1]
        unit = np.broadcast_to(np.eye(classes), (len(features), classes, classes))
        return [(np.column_stack([features, np.ones(len(features))]), unit)]


@dataclass(frozen=True)
class NetworkSide:
    """One side of the matrix through a network, which stands at its checkpoint in eval mode."""

    part: Part
    network: "Network"
    names: Sequence[str]
    inputs: "Inputs"

    def layers(self, rows: slice) -> Pass:
        """Inputs of each layer and its D, of some rows: a backward pass per class."""
        import torch

        kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

        def keep(name: str) -> Any:
            def hook(_: Any, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
                if name in kept or given[0].ndim != 2:
                    raise GlitchtraceError(
                        f"ekfac: layer '{name}' must see each sample once, as a vector; choose layers: head"
                    )
                kept[name] = given[0].detach(), output

            return hook

        handles = [self.network.get_submodule(name).register_forward_hook(keep(name)) for name in self.names]
        try:
            with torch.enable_grad():
                logits = self.network(self.inputs.batch(rows))
                outputs = [kept[name][1] for name in self.names]
                # The sum over samples gives each its own gradient: in eval mode they do not meet.
                columns = [
                    torch.autograd.grad(logits[:, c].sum(), outputs, retain_graph=True)
                    for c in range(logits.shape[1])
                ]
        finally:
            for handle in handles:
                handle.remove()
        found = []
        for number, name in enumerate(self.names):
            given = kept[name][0].double().numpy()
            if self.network.get_submodule(name).bias is not None:
                given = np.column_stack([given, np.ones(len(given))])
            found.append((given, torch.stack([c[number] for c in columns], dim=1).double().numpy()))
        return found


def dense_layers(network: "Network") -> list[str]:
    """Names of the trained layers.  Raises GlitchtraceError where one is not dense, or trained in part."""
    from torch import nn

    names = list(dict.fromkeys(name.rpartition(".")[0] for name in network.trained))
    for name in names:
        module = network.get_submodule(name)
        if not isinstance(module, nn.Linear) or any(not p.requires_grad for p in module.parameters()):
            raise GlitchtraceError(
                f"ekfac covers dense layers, not {type(module).__name__} (layer '{name}'); choose layers: head, "
                "or the model linear or mlp"
            )
    return names


@dataclass(frozen=True)
class Layer:
    """Q_A (I, I), Q_S (O, O) and 1/(Λ + λ), (O, I), of one layer."""

    inputs: np.ndarray
    outputs: np.ndarray
    inverse: np.ndarray


class Ekfac(OneCheckpoint):
    """EK-FAC at the last checkpoint; that is the one checkpoint there is."""

    def __init__(
        self,
        train: HeadSide | NetworkSide,
        validation: HeadSide | NetworkSide,
        *,
        damping: float | None,
        batch: int,
        memory_mib: float,
    ) -> None:
        self._train, self._validation = train, validation
        self._damping, self._batch, self._memory_mib = damping, batch, memory_mib
        self._fitted: list[Layer] | None = None
        self._queries: list[tuple[np.ndarray, np.ndarray]] | None = None

    def blocks(
        self, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and their block of J, (b, m) float64; see ``Estimator.blocks``."""
        part = self._train.part
        if epochs is not None:
            check_positions(epochs, 1)
        chosen = part.labels if labels is None else labels
        check_labels(chosen, len(part), part.probabilities[-1].shape[1])
        layers = self.layers()
        if self._queries is None:
            self._queries = self._rotated(self._validation, self._validation.part.labels, slice(None))
        count = len(self._validation.part)
        widest = max(layer.inverse.shape[0] for layer in layers)
        for rows in slices(0, len(part), rows_in(self._memory_mib, 8 * count * (1 + widest))):
            block = np.zeros((rows.stop - rows.start, count))
            ours = self._rotated(self._train, chosen, rows)
            for layer, (given, back), (asked, asked_back) in zip(layers, ours, self._queries, strict=True):
                outputs, inputs = layer.inverse.shape
                for columns in slices(0, count, rows_in(self._memory_mib, 8 * outputs * inputs)):
                    # (I, m·O): the queries' gradients over the eigenvalues.
                    weights = asked_back[columns, :, None] * asked[columns, None, :] * layer.inverse
                    response = given @ weights.reshape(-1, inputs).T
                    response = response.reshape(len(given), -1, outputs)
                    block[:, columns] += np.vecdot(response, back[:, None, :])
            yield rows, block / len(part)

    def self_influence_per_epoch(self) -> np.ndarray:
        """Σ_l ⟨G_il, (F_l + λ_l I)⁻¹ G_il⟩ / n, (1, n) float64."""
        part, layers = self._train.part, self.layers()
        found = np.zeros(len(part))
        for rows in slices(0, len(part), self._batch):
            for layer, (given, back) in zip(
                layers, self._rotated(self._train, part.labels, rows), strict=True
            ):
                found[rows] += np.vecdot(back**2 @ layer.inverse, given**2)
        return found[None] / len(part)

    def layers(self) -> list[Layer]:
        """The fitted layers, from two passes over the training samples."""
        if self._fitted is None:
            part, chances = self._train.part, self._train.part.probabilities[-1].astype(np.float64)
            means: list[list[np.ndarray]] = []
            for rows in slices(0, len(part), self._batch):
                found = [
                    _moments(given, columns, chances[rows]) for given, columns in self._train.layers(rows)
                ]
                means = (
                    [
                        [total + own for total, own in zip(*pair, strict=True)]
                        for pair in zip(means, found, strict=True)
                    ]
                    if means
                    else [list(pair) for pair in found]
                )
            bases = [tuple(np.linalg.eigh(total / len(part))[1] for total in pair) for pair in means]
            sums = [np.zeros((len(outputs), len(inputs))) for inputs, outputs in bases]
            for rows in slices(0, len(part), self._batch):
                for total, (inputs, outputs), (given, columns) in zip(
                    sums, bases, self._train.layers(rows), strict=True
                ):
                    turned, p = columns @ outputs, chances[rows, :, None]
                    variance = (p * turned**2).sum(axis=1) - (p * turned).sum(axis=1) ** 2
                    total += variance.T @ (given @ inputs) ** 2
            self._fitted = []
            for total, (inputs, outputs) in zip(sums, bases, strict=True):
                values = np.maximum(total / len(part), 0)
                damping = self._damping if self._damping is not None else _SHARE * float(values.mean())
                if not damping > 0:
                    raise GlitchtraceError(
                        "ekfac: the Fisher matrix of a layer is zero: every probability is 0 or 1; set "
                        "estimators.ekfac.damping, or train for fewer epochs"
                    )
                self._fitted.append(Layer(inputs, outputs, 1 / (values + damping)))
        return self._fitted

    def _rotated(
        self, side: HeadSide | NetworkSide, labels: np.ndarray, rows: slice
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per layer Q_Aᵀ ã (b, I) and Q_Sᵀ δ (b, O) of some rows under labels (n,)."""
        errors = residuals(side.part.probabilities[-1].astype(np.float64), labels)
        start, stop, _ = rows.indices(len(labels))
        parts = []
        for batch in slices(start, stop, self._batch):
            back = [
                (
                    given @ layer.inputs,
                    np.vecdot(columns.swapaxes(1, 2), errors[batch, None, :]) @ layer.outputs,
                )
                for layer, (given, columns) in zip(self.layers(), side.layers(batch), strict=True)
            ]
            parts.append(back)
        return [
            (np.concatenate([pair[0] for pair in of]), np.concatenate([pair[1] for pair in of]))
            for of in zip(*parts, strict=True)
        ]


def _moments(given: np.ndarray, columns: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over samples of ã ãᵀ and of E_y δ δᵀ = Dᵀ (diag p − p pᵀ) D."""
    flat = (np.sqrt(chances)[:, :, None] * columns).reshape(-1, columns.shape[2])
    mean = np.vecdot(columns.swapaxes(1, 2), chances[:, None, :])
    return given.T @ given, flat.T @ flat - mean.T @ mean
