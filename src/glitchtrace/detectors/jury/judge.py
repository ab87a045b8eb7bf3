"""The entry: representations and observed labels in, a verdict out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.jury.ballots import DENSE, Ballots
from glitchtrace.detectors.jury.evidence import gather_evidence
from glitchtrace.detectors.jury.noise import responsibilities, uniform_matrix
from glitchtrace.detectors.jury.number import class_number, mixed_number
from glitchtrace.detectors.jury.panel import BOTH, Panel, seat
from glitchtrace.detectors.jury.pool import Pool, fit_pool, log_odds, ranking_pool
from glitchtrace.detectors.jury.promise import make_promise
from glitchtrace.detectors.jury.rare import find_rare, thinned
from glitchtrace.detectors.jury.refit import refit
from glitchtrace.detectors.jury.rows import Rows, deal_folds, gather_rows
from glitchtrace.detectors.jury.typicality import Typicality, against_validation, along_axes
from glitchtrace.detectors.jury.verdict import Verdict, weigh

FOLDS, FEWER_FOLDS = 5, 3
PAIR_ROWS, REFIT_ROWS = 20_000, 200_000  # rows up to which the refit takes pairs of five folds, and of three
_TRUSTED = -3.0
# Share of wrong labels that may be left where none are found: a chance of 0.01, as of foreign rows, of one in 1,000.
_UNSEEN = 1e-5
SURE = 0.02  # a smaller share of wrong validation labels is taken for none


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
    typicality
        Look for anomalous and corrupted rows too.
    evidence
        Rows at most for which evidence is gathered: the likeliest first.
    """

    refit: bool = True
    trees: Sequence[str] | None = None
    landmarks: int | None = None
    typicality: bool = True
    evidence: int = 200

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
        pool = fit_pool(panel.ballots, rows.labels, n, seed=seed)
        promise, scale = make_promise(pool, panel.ballots, rows.labels, n, max_false)
        by_class = class_number(pool, scale, panel.ballots, rows.labels, n)
        sure = None
        if pool.validation_flip is not None and pool.validation_flip < SURE:
            sure = fit_pool(panel.ballots, rows.labels, n, seed=seed, only_validation=True)
        number = mixed_number(pool, sure, by_class, scale, panel.ballots, rows.labels, n)
        leading = ranking_pool(pool, panel.ballots, rows.labels, n, seed)
        final, ballots, notes = leading, panel.ballots, []
        if self.refit:
            final, ballots, words = _again(rows, panel, leading, seed)
            notes += words
        found = final.rate(y)
        if leading is not pool:
            final = final.levelled(pool, y)
        own = ballots.take(slice(0, n))
        p = final.posterior(own)
        odds = log_odds(p, own, y, final.noise)
        q = responsibilities(p, own.column(final.noise, y))[0]
        others = np.where(own.candidates == y[:, None], -1.0, q)
        best = others.argmax(axis=1)
        index = np.arange(n)
        proposed = own.candidates[index, best].astype(np.int64)
        rare = _rare(rows, final, ballots, q)
        typicality = _typicality(rows, rare, seed) if self.typicality else None
        closed = typicality is not None and typicality.checked and not typicality.open
        # Of wrong labels too a small chance is left where none are found, or the least foreign row would outrank them.
        lift = final.lift(max(found, _UNSEEN), y) if closed else 0.0
        total, kinds, verdict = weigh(odds, typicality, np.isin(y, rare), y, rows.classes, lift)
        suspects = np.flatnonzero(promise.flagged | (odds > 0))
        suspects = np.sort(suspects[np.argsort(-odds[suspects], kind="stable")[: self.evidence]])
        if typicality is not None and not typicality.checked:
            notes.append("Without validation rows, untypical rows are ranked but not judged.")
        return Verdict(
            log_odds=total,
            label_log_odds=odds,
            candidates=own.candidates,
            posterior=q,
            kinds=kinds,
            verdict=verdict,
            proposed=proposed,
            confidence=q[index, best],
            flagged=promise.flagged,
            promise=promise,
            number=number,
            numbers=(by_class, number) if number.model != by_class.model else (number,),
            noise=final.noise,
            experts=dict(zip(ballots.names, (final.weights / final.weights.sum()).tolist(), strict=True)),
            validation_flip=final.validation_flip,
            rare=tuple(rare.tolist()),
            typicality=typicality,
            evidence=gather_evidence(
                rows,
                panel.kernels.get(BOTH, next(iter(panel.kernels.values()))),
                list(panel.neighbours.values()),
                suspects,
                proposed[suspects],
                odds < _TRUSTED,
            ),
            notes=tuple(notes),
        )


def _again(rows: Rows, panel: Panel, pool: Pool, seed: int) -> tuple[Pool, Ballots, list[str]]:
    """Pool and ballots after the refit, or as they were, with a sentence why."""
    if rows.classes > DENSE:
        return pool, panel.ballots, [f"Not refitted: {rows.classes} classes are more than {DENSE}."]
    if len(rows) > REFIT_ROWS:
        return pool, panel.ballots, [f"Not refitted: {len(rows)} rows are more than {REFIT_ROWS}."]
    trees = np.array([name.startswith("forest") for name in panel.ballots.names])
    if pool.weights[trees].sum() > 0.5 * pool.weights.sum():
        words = "Not refitted: the trees, which are not refitted, have most of the votes."
        return pool, panel.ballots, [words]
    count = FOLDS if len(rows) <= PAIR_ROWS else FEWER_FOLDS
    again = refit(rows, panel, pool, deal_folds(rows.units, rows.labels, count, seed + 1), seed)
    ballots = panel.ballots.joined(again)
    return fit_pool(ballots, rows.labels, rows.training, seed=seed, start=pool), ballots, []


def _rare(rows: Rows, pool: Pool, ballots: Ballots, q: np.ndarray) -> np.ndarray:
    n = rows.training
    if len(rows) == n or pool.validation_flip is None:
        return np.empty(0, dtype=np.int64)
    held = ballots.take(slice(n, None))
    spread = uniform_matrix(pool.validation_flip, rows.classes)
    other = responsibilities(pool.posterior(held), held.column(spread, rows.labels[n:]))[0]
    believed = [
        np.bincount(candidates.ravel(), belief.ravel(), minlength=rows.classes)
        for candidates, belief in ((ballots.candidates[:n], q), (held.candidates, other))
    ]
    return find_rare(rows.labels[:n], rows.labels[n:], believed[0], believed[1], rows.classes)


def _typicality(rows: Rows, rare: np.ndarray, seed: int) -> Typicality:
    n = rows.training
    if len(rows) == n:
        return along_axes(rows.views, n, seed)
    kept = np.r_[np.ones(n, dtype=bool), thinned(rows.labels[:n], rows.labels[n:], rare)]
    return against_validation(rows, kept, seed)
