"""The entry: representations and observed labels in, a verdict out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.jury.number import class_number
from glitchtrace.detectors.jury.panel import seat
from glitchtrace.detectors.jury.pool import fit_pool, log_odds
from glitchtrace.detectors.jury.promise import make_promise
from glitchtrace.detectors.jury.rows import deal_folds, gather_rows
from glitchtrace.detectors.jury.verdict import CLEAN, MISLABELLED, Verdict

FOLDS = 5


@dataclass(frozen=True)
class Jury:
    """A detector of glitches that needs neither their ratio nor their kind, nor a clean validation set.

    Experts that have not seen a row's label vote on it; what each vote counts and how labels go wrong are found
    together from the observed labels.  Method: docs/methods/jury.md.

    Parameters
    ----------
    refit
        Fit the experts once more on believed labels, by pairs of folds.
    trees
        Names of representations on which trees are grown; None: those of at most 60 columns.
    landmarks
        Landmarks of the kernels; None: by the number of rows.
    """

    refit: bool = True
    trees: Sequence[str] | None = None
    landmarks: int | None = None

    def judge(
        self,
        representations: Mapping[str, np.ndarray],
        labels: np.ndarray,
        validation: tuple[Mapping[str, np.ndarray], np.ndarray] | None = None,
        groups: np.ndarray | None = None,
        max_false: float = 0.1,
        seed: int = 0,
    ) -> Verdict:
        """Judge every training row.

        Parameters
        ----------
        representations
            Name -> (n, ...) finite numbers; what is wider than 128 columns is reduced to as many.
        labels
            (n,) observed labels, integers 0 … K - 1, K at most 1,000 or so.
        validation
            Representations of the same names with m rows, and their labels (m,), wrong ones among them or not.
        groups
            (n,) one value per row; rows of a group (a patient, a video) never vouch for each other.
        max_false
            The share of flags that may be false.
        seed
            Decides landmarks, folds and bags.

        Raises
        ------
        GlitchtraceError
            Where shapes, types, names or values do not fit.
        """
        if not 0 < max_false < 1:
            raise GlitchtraceError(f"max_false: {max_false}; give a share between 0 and 1")
        rows = gather_rows(representations, labels, validation, groups, seed)
        for name in self.trees or ():
            if name not in rows.views:
                raise GlitchtraceError(f"trees: no representation {name!r}; known: {', '.join(rows.views)}")
        n = rows.training
        y = rows.labels[:n]
        fold = deal_folds(rows.units, rows.labels, FOLDS, seed)
        panel = seat(rows, fold, seed, self.trees, self.landmarks)
        ballots = panel.ballots
        pool = fit_pool(ballots, rows.labels, n, seed=seed)
        promise, scale = make_promise(pool, ballots, rows.labels, n, max_false)
        number = class_number(pool, scale, ballots, rows.labels, n)
        own = ballots.take(slice(0, n))
        odds = log_odds(pool.posterior(own), own, y, pool.noise)
        q = pool.judged(own, y)
        others = np.where(own.candidates == y[:, None], -1.0, q)
        best = others.argmax(axis=1)
        index = np.arange(n)
        wrong = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
        kinds = np.zeros((n, 4))
        kinds[:, CLEAN], kinds[:, MISLABELLED] = 1 - wrong, wrong
        return Verdict(
            log_odds=odds,
            label_log_odds=odds,
            candidates=own.candidates,
            posterior=q,
            kinds=kinds,
            verdict=kinds.argmax(axis=1).astype(np.int8),
            proposed=own.candidates[index, best].astype(np.int64),
            confidence=q[index, best],
            flagged=promise.flagged,
            promise=promise,
            number=number,
            numbers=(number,),
            noise=pool.noise,
            experts=dict(zip(ballots.names, (pool.weights / pool.weights.sum()).tolist(), strict=True)),
            validation_flip=pool.validation_flip,
        )
