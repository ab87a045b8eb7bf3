"""The experts once more, on believed labels that have never seen the label they help to judge: by pairs of folds."""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from glitchtrace.detectors.jury import noise
from glitchtrace.detectors.jury.ballots import Ballots
from glitchtrace.detectors.jury.heads import fit_softmax, softmax_scores, thin
from glitchtrace.detectors.jury.kernel import KernelRidge, hard_products
from glitchtrace.detectors.jury.neighbours import vote_of, without_folds
from glitchtrace.detectors.jury.panel import Panel
from glitchtrace.detectors.jury.pool import Pool
from glitchtrace.detectors.jury.rows import Rows

AGAIN = " again"


@dataclass(frozen=True)
class FoldedKernel:
    """Gram matrices (F, L, L) of one kernel's features by fold, so that any folds can be left out.

    ``whole`` (L, L): that of all rows, with the penalty.
    """

    kernel: KernelRidge
    grams: np.ndarray
    whole: np.ndarray
    members: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, kernel: KernelRidge, fold: np.ndarray) -> "FoldedKernel":
        """Sum the Gram matrices fold by fold."""
        members = tuple(np.flatnonzero(fold == a) for a in range(int(fold.max()) + 1))
        width = kernel.features.width
        grams = np.zeros((len(members), width, width))
        for gram, rows in zip(grams, members, strict=True):
            for _, phi in kernel.features.blocks(rows):
                gram += phi.T @ phi
        whole = grams.sum(axis=0)
        whole[np.diag_indices_from(whole)] += kernel.penalty
        return cls(kernel, grams, whole, members)

    def solve(self, left_out: tuple[int, ...], products: np.ndarray) -> np.ndarray:
        """Ridge weights (L, K) without some folds, for given Phi'Y of the others."""
        gram = self.whole - self.grams[left_out[0]]
        for a in left_out[1:]:
            gram -= self.grams[a]
        # Transposed it is the same matrix in the order that LAPACK works on.
        factor = cho_factor(gram.T, lower=True, overwrite_a=True, check_finite=False)
        solved: np.ndarray = cho_solve(factor, products, check_finite=False)
        return solved

    def pair_scores(
        self, labels: np.ndarray, classes: int
    ) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
        """For each pair of folds, scores of the rows of either by the fit without both."""
        hard = np.zeros((len(self.members), self.kernel.features.width, classes))
        for product, rows in zip(hard, self.members, strict=True):
            for part, phi in self.kernel.features.blocks(rows):
                product += hard_products(phi, labels[part], classes)
        pairs = list(itertools.combinations(range(len(self.members)), 2))
        weights = {pair: self.solve(pair, hard.sum(axis=0) - hard[list(pair)].sum(axis=0)) for pair in pairs}
        found = {pair: [np.empty((len(self.members[a]), classes)) for a in pair] for pair in pairs}
        for a, rows in enumerate(self.members):
            start = 0
            for _, phi in self.kernel.features.blocks(rows):
                stop = start + len(phi)
                for pair in pairs:
                    if a in pair:
                        found[pair][pair.index(a)][start:stop] = phi @ weights[pair].astype(phi.dtype)
                start = stop
        return {pair: (first, second) for pair, (first, second) in found.items()}

    def fold_scores(self, targets: np.ndarray) -> np.ndarray:
        """Scores (N, K) of each row by the fit without its fold; ``targets`` (F, N, K), one set for each fold."""
        F, N, K = targets.shape
        products = np.zeros((F, self.kernel.features.width, K))
        for c, rows in enumerate(self.members):
            for part, phi in self.kernel.features.blocks(rows):
                for a in range(F):
                    if a != c:
                        products[a] += phi.T @ targets[a, part].astype(phi.dtype)
        scores = np.empty((N, K))
        for a, rows in enumerate(self.members):
            weights = self.solve((a,), products[a])
            for part, phi in self.kernel.features.blocks(rows):
                scores[part] = phi @ weights.astype(phi.dtype)
        return scores


def centred(scores: np.ndarray) -> np.ndarray:
    """Scores less their row's mean."""
    result: np.ndarray = scores - scores.mean(axis=1, keepdims=True)
    return result


def refit(rows: Rows, panel: Panel, pool: Pool, fold: np.ndarray, seed: int) -> Ballots:
    """Ballots of kernels, votes and softmax fitted on believed labels; every label is a candidate (K <= 64).

    For each pair of folds {a, c}, experts without a and c give q for the rows of both.  When fold a is judged, row j
    of fold c has the target q_j² (normalised) of that pair, which has seen no label of fold a.
    """
    F, N, K = int(fold.max()) + 1, len(rows), rows.classes
    members = tuple(np.flatnonzero(fold == a) for a in range(F))
    pairs = list(itertools.combinations(range(F), 2))
    ballots = panel.ballots
    scale = dict(zip(ballots.names, pool.weights / ballots.deviations, strict=True))
    everything = rows.joined()
    chosen = thin(N, K * F, seed)
    logits = {pair: [np.zeros((len(members[a]), K)) for a in pair] for pair in pairs}

    folded = {name: FoldedKernel.of(kernel, fold) for name, kernel in panel.kernels.items()}
    for name, kernel in folded.items():
        for pair, both in kernel.pair_scores(rows.labels, K).items():
            for side, scores in enumerate(both):
                logits[pair][side] += scale[f"kernel {name}"] * centred(scores)
    used = np.stack([~np.isin(fold[chosen], pair) for pair in pairs], axis=1)
    heads = fit_softmax(everything[chosen], rows.labels[chosen], used, K)
    for number, pair in enumerate(pairs):
        for side, a in enumerate(pair):
            scores = softmax_scores(everything[members[a]], heads[number])
            logits[pair][side] += scale["softmax"] * centred(scores)
            for name, near in panel.neighbours.items():
                index, weight = without_folds(near, members[a], fold, pair)
                logits[pair][side] += scale[f"vote {name}"] * centred(vote_of(index, weight, rows.labels, K))

    column = np.empty((N, K))
    column[: rows.training] = pool.noise.T[rows.labels[: rows.training]]
    if pool.validation_flip is not None:
        column[rows.training :] = noise.uniform_matrix(pool.validation_flip, K)[rows.labels[rows.training :]]
    targets = np.zeros((F, N, K), dtype=np.float32)
    for pair in pairs:
        for side, a in enumerate(pair):
            other = pair[1 - side]
            score = logits[pair][side] + pool.bias
            p = np.exp(score - score.max(axis=1, keepdims=True))
            sharp = np.square(noise.responsibilities(p, column[members[a]])[0])
            targets[other, members[a]] = sharp / sharp.sum(axis=1, keepdims=True)

    names: list[str] = []
    made: list[np.ndarray] = []
    for name, kernel in folded.items():
        names.append(f"kernel {name}{AGAIN}")
        made.append(kernel.fold_scores(targets))
    for name, near in panel.neighbours.items():
        result = np.empty((N, K))
        for a, part in enumerate(members):
            index, weight = without_folds(near, part, fold, (a,))
            result[part] = vote_of(index, weight, targets[a], K)
        names.append(f"vote {name}{AGAIN}")
        made.append(result)
    heads = fit_softmax(everything[chosen], targets[:, chosen], fold[chosen, None] != np.arange(F), K)
    result = np.empty((N, K))
    for a, part in enumerate(members):
        result[part] = softmax_scores(everything[part], heads[a])
    names.append(f"softmax{AGAIN}")
    made.append(result)
    z = np.stack([centred(score) for score in made])
    deviations = np.sqrt(np.square(z).mean(axis=(1, 2)))
    deviations = np.where(deviations > 0, deviations, 1)
    z = (z / deviations[:, None, None]).astype(np.float32)
    return Ballots(z, ballots.candidates, tuple(names), K, deviations)
