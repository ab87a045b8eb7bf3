"""TracIn of a linear softmax head in closed form: exact, streamed, without per-sample gradients or torch.

With residuals e = p − onehot(y) and features h of training sample i and validation sample j at checkpoint t,

    J_ij = Σ_t η_t (e_ti · e_tj)(h_ti · h_tj + b),    s_i = Σ_t η_t ‖e_ti‖² (‖h_ti‖² + b),

where b = 1 if the head's bias counts and 0 if not.  Features that do not change in training give one Gram
product and one product of the residuals of all checkpoints side by side.  Another label for a training sample
changes its residual only.  float32 factors give float32 products, float64 factors float64.

Source: Pruthi et al. 2020 (TracIn), appendix F; docs/methods/tracin.md#closed-form.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from glitchtrace.influence.factors import Factors, check_labels, check_positions

MEMORY_MIB = 32.0
# Arrays of one block alive at once: J and its Gram product.
_BLOCK_ARRAYS = 2
# With more rows a Gram product gets no faster: the validation features are laid out once for so many.
_MOST_ROWS = 384
# What is done entry by entry is done for few rows at a time, which stay in the cache of a core.
_CACHED_BYTES = 2**19
_MIB = 2**20
# Is shown the position of a checkpoint, rows of a block and their J at that checkpoint alone.
Alone = Callable[[int, slice, np.ndarray], None]


def residuals(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradient of the cross-entropy with respect to the logits, p − onehot(y).

    ``probabilities`` (rows, K) and ``labels`` (rows,) in 0 … K−1; returns (rows, K).
    """
    gradient = probabilities.copy()
    gradient[np.arange(len(labels)), labels] -= 1
    return gradient


def step_sizes(factors: Factors, divide_by_batch_size: bool = False) -> np.ndarray:
    """The weight of each checkpoint, (T,) float64: η_t, or η_t / |B| where the mean of the batch counts."""
    return factors.learning_rates / factors.batch_size if divide_by_batch_size else factors.learning_rates


def influence_matrix(
    factors: Factors,
    *,
    labels: np.ndarray | None = None,
    epochs: Sequence[int] | None = None,
    include_bias: bool = True,
    divide_by_batch_size: bool = False,
    memory_mib: float = MEMORY_MIB,
) -> np.ndarray:
    """The influence matrix J, (n, m): J_ij > 0 where training on i lowers the loss of j.

    ``labels`` (n,) stand in for the observed training labels (a counterfactual).  ``epochs``: positions of
    checkpoints, 0 … T−1; None for all.  Peak memory is the matrix and ``memory_mib`` MiB of blocks.  Raises
    GlitchtraceError for labels that are not one column of the probabilities per sample, and for no or unknown epochs.
    """
    samples, columns = len(factors.train), len(factors.validation)
    matrix = np.empty((samples, columns), factors.dtype)
    kernel = _Kernel.of(factors, labels, epochs, include_bias, divide_by_batch_size)
    for rows in row_blocks(samples, columns, matrix.itemsize, memory_mib):
        kernel.write(rows, matrix[rows])
    return matrix


def influence_blocks(
    factors: Factors,
    *,
    labels: np.ndarray | None = None,
    epochs: Sequence[int] | None = None,
    include_bias: bool = True,
    divide_by_batch_size: bool = False,
    memory_mib: float = MEMORY_MIB,
) -> Iterator[tuple[slice, np.ndarray]]:
    """The influence matrix in blocks of rows: pairs of rows and their part of J, (b, m), in order.

    Arguments as in ``influence_matrix``.  Memory does not depend on n × m: ``memory_mib`` holds a block and
    what computing and reducing it takes.
    """
    kernel = _Kernel.of(factors, labels, epochs, include_bias, divide_by_batch_size)
    columns, dtype = len(factors.validation), factors.dtype
    for rows in row_blocks(len(factors.train), columns, dtype.itemsize, memory_mib):
        block = np.empty((rows.stop - rows.start, columns), dtype)
        kernel.write(rows, block)
        yield rows, block


def epoch_blocks(
    factors: Factors,
    *,
    include_bias: bool = True,
    divide_by_batch_size: bool = False,
    memory_mib: float = MEMORY_MIB,
) -> Iterator[tuple[slice, int, np.ndarray]]:
    """The influence of each checkpoint alone, in blocks: rows, position of the checkpoint, J_t (b, m).

    All checkpoints of one block of rows come before the next block, so that their sum is the cumulative
    influence; features that do not change are multiplied once per block.
    """
    kernel = _Kernel.of(factors, None, None, include_bias, divide_by_batch_size)
    columns, dtype = len(factors.validation), factors.dtype
    for rows in row_blocks(len(factors.train), 2 * columns, dtype.itemsize, memory_mib):
        for group in kernel.groups:
            gram = kernel.gram(group, rows)
            for epoch in group.epochs:
                yield rows, epoch, kernel.weighted(group, epoch, kernel.residuals((epoch,), rows), gram)


def joint_blocks(
    factors: Factors,
    *,
    include_bias: bool = True,
    divide_by_batch_size: bool = False,
    memory_mib: float = MEMORY_MIB,
) -> Iterator["JointBlock"]:
    """Blocks of rows whose influence under other labels is asked for while their Gram product is at hand."""
    kernel = _Kernel.of(factors, None, None, include_bias, divide_by_batch_size)
    columns, dtype = len(factors.validation), factors.dtype
    gram = np.empty((0, columns), dtype)
    for rows in row_blocks(len(factors.train), columns, dtype.itemsize, memory_mib):
        if not len(gram):  # the first block is the largest
            gram = np.empty((rows.stop - rows.start, columns), dtype)
        yield JointBlock(kernel, rows, gram[: rows.stop - rows.start])


def self_influence_per_epoch(
    factors: Factors, *, include_bias: bool = True, divide_by_batch_size: bool = False
) -> np.ndarray:
    """The self influence of every training sample at each checkpoint alone, (T, n) float64, all ≥ 0."""
    weights = step_sizes(factors, divide_by_batch_size)
    part = factors.train
    squares = [_squared_norms(features) + include_bias for features in part.features]
    influence = np.empty((factors.epochs, len(part)))
    for epoch, weight in enumerate(weights):
        gradients = _squared_norms(residuals(part.probabilities[epoch], part.labels))
        influence[epoch] = weight * gradients * squares[0 if factors.frozen else epoch]
    return influence


def self_influence(
    factors: Factors, *, include_bias: bool = True, divide_by_batch_size: bool = False
) -> np.ndarray:
    """The self influence s, (n,) float64: the diagonal of the influence of the training set on itself."""
    result: np.ndarray = self_influence_per_epoch(
        factors, include_bias=include_bias, divide_by_batch_size=divide_by_batch_size
    ).sum(axis=0)
    return result


def row_blocks(rows: int, columns: int, itemsize: int, memory_mib: float) -> Iterator[slice]:
    """Consecutive slices of ``rows``, such that the arrays of one block of J fit into ``memory_mib`` MiB."""
    return slices(0, rows, min(_MOST_ROWS, rows_in(memory_mib, _BLOCK_ARRAYS * columns * itemsize)))


def cached_rows(block: np.ndarray) -> Iterator[slice]:
    """Slices of the rows of a block that stay in the cache of a core."""
    return slices(0, len(block), max(1, _CACHED_BYTES // max(1, block[:1].nbytes)))


def _squared_norms(rows: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.vecdot(rows, rows).astype(np.float64)
    return result


@dataclass(frozen=True)
class _Group:
    """Checkpoints that share their features; their weighted validation residuals one above the other, (K·size, m)."""

    epochs: tuple[int, ...]
    train_features: np.ndarray
    validation_features: np.ndarray
    validation_residuals: np.ndarray


@dataclass(frozen=True)
class _Kernel:
    """Computes blocks of J from groups of checkpoints that share their features."""

    groups: tuple[_Group, ...]
    probabilities: tuple[np.ndarray, ...]
    labels: np.ndarray
    include_bias: bool

    @classmethod
    def of(
        cls,
        factors: Factors,
        labels: np.ndarray | None,
        epochs: Sequence[int] | None,
        include_bias: bool,
        divide_by_batch_size: bool,
    ) -> "_Kernel":
        if epochs is not None:
            check_positions(epochs, factors.epochs)
        if labels is not None:
            check_labels(labels, len(factors.train), factors.train.probabilities[0].shape[1])
        chosen = tuple(range(factors.epochs)) if epochs is None else tuple(epochs)
        together = [chosen] if factors.frozen else [(epoch,) for epoch in chosen]
        weights = step_sizes(factors, divide_by_batch_size)
        return cls(
            groups=tuple(_group(factors, members, weights) for members in together),
            probabilities=factors.train.probabilities,
            labels=factors.train.labels if labels is None else labels,
            include_bias=include_bias,
        )

    def write(self, rows: slice, block: np.ndarray) -> None:
        """Write J of these rows, summed over all checkpoints, into ``block`` (b, m)."""
        scratch = np.empty_like(block) if len(self.groups) > 1 else block
        for position, group in enumerate(self.groups):
            gram = self.gram(group, rows, scratch if position else block)
            residuals = self.residuals(group.epochs, rows)
            for part in cached_rows(block):
                if position:
                    block[part] += np.multiply(residuals[part] @ group.validation_residuals, gram[part])
                else:
                    block[part] *= residuals[part] @ group.validation_residuals

    def gram(self, group: _Group, rows: slice, out: np.ndarray | None = None) -> np.ndarray:
        """Products of the features, (b, m), with the bias."""
        gram = np.matmul(group.train_features[rows], group.validation_features.T, out=out)
        if self.include_bias:
            gram += 1
        return gram

    def residuals(self, epochs: tuple[int, ...], rows: slice) -> np.ndarray:
        """Residuals of these rows at some checkpoints side by side, (b, K·size)."""
        stacked = [residuals(self.probabilities[epoch][rows], self.labels[rows]) for epoch in epochs]
        return stacked[0] if len(stacked) == 1 else np.concatenate(stacked, axis=1)

    def weighted(self, group: _Group, epoch: int, rows: np.ndarray, gram: np.ndarray) -> np.ndarray:
        """Products of residuals (r, K) with those of validation at one checkpoint, times the Gram product (r, m)."""
        width, position = rows.shape[1], group.epochs.index(epoch)
        others = group.validation_residuals[position * width : (position + 1) * width]
        block: np.ndarray = rows @ others
        block *= gram
        return block


class JointBlock:
    """J of some rows, (b, m): at each checkpoint, summed, and then under other labels at the last checkpoint.

    All of it comes in parts of a few rows, (r, m), with their place in the block; a part is the caller's to change.
    ``gram`` (b, m) holds what lies in between.
    """

    def __init__(self, kernel: _Kernel, rows: slice, gram: np.ndarray) -> None:
        self.rows = rows
        self._kernel = kernel
        self._gram = gram

    def sums(self, alone: Alone | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """J summed over all checkpoints; that of each checkpoint alone is shown before, with its position and part."""
        *first, last = self._kernel.groups
        total = np.zeros_like(self._gram) if first else np.empty(0)
        for group in first:
            for part, block in self._of_group(group, alone):
                total[part] += block
        for part, block in self._of_group(last, alone):
            yield part, np.add(total[part], block, out=block) if first else block

    def relabelled(self, part: slice, labels: np.ndarray) -> np.ndarray:
        """J at the last checkpoint where the rows of a part have other labels (r,); while ``sums`` is at that part.

        Raises GlitchtraceError for labels that are not one column of the probabilities per row.
        """
        group = self._kernel.groups[-1]
        epoch = group.epochs[-1]
        probabilities = self._kernel.probabilities[epoch][self.rows][part]
        check_labels(labels, len(probabilities), probabilities.shape[1])
        return self._kernel.weighted(group, epoch, residuals(probabilities, labels), self._gram[part])

    def _of_group(self, group: _Group, alone: Alone | None) -> Iterator[tuple[slice, np.ndarray]]:
        """J summed over the checkpoints of a group."""
        self._kernel.gram(group, self.rows, self._gram)
        rows = self._kernel.residuals(group.epochs, self.rows)
        if alone is None:
            for part in cached_rows(self._gram):
                block: np.ndarray = rows[part] @ group.validation_residuals
                block *= self._gram[part]
                yield part, block
            return
        each = np.split(rows, len(group.epochs), axis=1)
        for part in cached_rows(self._gram):
            total: np.ndarray | None = None
            for epoch, own in zip(group.epochs, each, strict=True):
                block = self._kernel.weighted(group, epoch, own[part], self._gram[part])
                alone(epoch, part, block)
                total = block if total is None else np.add(total, block, out=total)
            assert total is not None
            yield part, total


def _group(factors: Factors, epochs: tuple[int, ...], weights: np.ndarray) -> _Group:
    validation = factors.validation
    weighted = [
        residuals(validation.probabilities[epoch], validation.labels).T * weights[epoch] for epoch in epochs
    ]
    return _Group(
        epochs=epochs,
        train_features=factors.train.features_at(epochs[0]),
        validation_features=validation.features_at(epochs[0]),
        validation_residuals=np.concatenate(weighted).astype(factors.dtype, order="C"),
    )


def slices(start: int, stop: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` rows from ``start`` to ``stop``."""
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def rows_in(memory_mib: float, bytes_per_row: int) -> int:
    """How many rows fit into ``memory_mib`` MiB; at least one."""
    return max(1, int(memory_mib * _MIB / bytes_per_row))
