"""One table: what is believed of every row, on what evidence, in the user's own names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glitchtrace.audit.samples import Samples

if TYPE_CHECKING:
    import pandas as pd

CLEAN, WRONG, FAR, CORRUPTED, TWIN, LEAK = (
    "clean",
    "mislabelled",
    "anomalous",
    "corrupted",
    "near duplicate",
    "leak",
)
VERDICTS = (WRONG, LEAK, TWIN, CORRUPTED, FAR, CLEAN)
ACTIONS = {WRONG: "relabel", LEAK: "flag", TWIN: "flag", CORRUPTED: "flag", FAR: "flag", CLEAN: "keep"}


@dataclass(frozen=True)
class Evidence:
    """Everything that the stages found, (n,) each unless said otherwise; −1 or "" where there is nothing.

    ``wrong``, ``score``, ``flags``, ``proposed`` (text), ``confidence``, ``observed_confidence``: of the label.
    ``far``, ``far_probability``, ``far_flags``: of belonging nowhere.  ``odd``: what is wrong at sight.
    ``twin_of``: the first row of its cluster of duplicates; ``equal``: the first row of equal content, maybe itself;
    ``twin_judged``: whether duplicates are findings.  ``leak_of``: ids in the trusted data; ``leak_exact``: whether the
    content is equal.  ``supporters``: per row the neighbours with the proposed label.  ``looked``: how many neighbours
    were asked.
    ``judged``: whether a judge has looked at the label.
    """

    wrong: np.ndarray
    score: np.ndarray
    flags: np.ndarray
    proposed: np.ndarray
    confidence: np.ndarray
    observed_confidence: np.ndarray
    far: np.ndarray
    far_probability: np.ndarray
    far_flags: np.ndarray
    odd: np.ndarray
    odd_probability: np.ndarray
    twin_of: np.ndarray
    equal: np.ndarray
    twin_judged: bool
    leak_of: np.ndarray
    leak_exact: np.ndarray
    judged: np.ndarray
    supporters: Sequence[Sequence[int]]
    looked: int
    helps: dict[int, list[int]]
    hurts: dict[int, list[int]]
    scores: dict[str, np.ndarray]


def issues(samples: Samples, evidence: Evidence) -> "pd.DataFrame":
    """The table of all rows, most suspicious first; see docs/audit.md for the columns."""
    import pandas as pd

    n = len(samples)
    observed = samples.observed()
    verdict = np.full(n, CLEAN, dtype=object)
    suspicion = np.clip(evidence.wrong, 0, 1).copy()
    verdict[evidence.flags] = WRONG
    far = evidence.far_flags & (evidence.far_probability >= suspicion)
    verdict[far] = FAR
    odd = evidence.odd != ""
    verdict[odd] = CORRUPTED
    leak = evidence.leak_of != ""
    verdict[leak] = LEAK
    twins = _twins(evidence, observed, verdict == WRONG, odd)
    judged_twin = (twins.repeated >= 0) & evidence.twin_judged
    verdict[judged_twin & ((verdict == CLEAN) | (verdict == FAR) | (twins.same & (verdict == WRONG)))] = TWIN
    suspicion = np.maximum(suspicion, evidence.far_probability * far)
    suspicion = np.maximum(suspicion, evidence.odd_probability)
    exact = evidence.equal == evidence.equal[twins.repeated]
    near = (judged_twin & ~exact) | (leak & ~evidence.leak_exact)
    suspicion[near] = np.maximum(suspicion, 0.95)[near]
    suspicion[(leak & evidence.leak_exact) | (judged_twin & exact)] = 1.0
    place = {name: number for number, name in enumerate(VERDICTS)}
    kind = np.array([place[value] for value in verdict])
    order = np.lexsort((np.arange(n), -evidence.score, -np.round(suspicion, 9), kind == place[CLEAN]))
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(1, n + 1)
    # Nothing is known of a label that nobody has judged: no number stands for that, 0 least of all.
    suspicion[~evidence.judged & (verdict == CLEAN)] = np.nan
    table = pd.DataFrame(
        {
            "rank": rank,
            "row": np.arange(n),
            "id": _words(samples.ids),
            "verdict": _words(verdict),
            "suspicion": suspicion.round(6),
            "observed": _words(observed),
            "observed_confidence": evidence.observed_confidence.round(6),
            "proposed": _words(evidence.proposed),
            "proposed_confidence": evidence.confidence.round(6),
            "action": [_action(v, twins, row) for row, v in enumerate(verdict)],
            "evidence": [
                _sentence(samples, evidence, twins, observed, row, str(v)) for row, v in enumerate(verdict)
            ],
            "duplicate_of": [str(samples.ids[t]) if t >= 0 else "" for t in twins.repeated],
            "leak_of": _words(evidence.leak_of),
            "supporters": [_ids(samples, rows) for rows in evidence.supporters],
            "helps": [_ids(samples, evidence.helps.get(row, ())) for row in range(n)],
            "hurts": [_ids(samples, evidence.hurts.get(row, ())) for row in range(n)],
            **{
                f"score_{name}": values.astype(np.float64).round(6)
                for name, values in evidence.scores.items()
            },
        }
    )
    return table.sort_values("rank", kind="stable").reset_index(drop=True)


def _words(values: np.ndarray) -> list[str]:
    """Texts, each as long as it is: an array of text gives every row the width of the longest."""
    return [str(value) for value in values]


@dataclass(frozen=True)
class _Twins:
    """``repeated``: (n,) the row that each repeats, −1 where there is none.  ``same``: (n,) whether that row has equal
    content and the same label; ``spare``: or has both once the labels called wrong are replaced.  ``rival``: a row that
    repeats none → one of equal content and another label.
    """

    repeated: np.ndarray
    same: np.ndarray
    spare: np.ndarray
    rival: dict[int, int]


def _twins(evidence: Evidence, observed: np.ndarray, changed: np.ndarray, odd: np.ndarray) -> _Twins:
    """Which rows repeat which, so that of equal rows with one label one stays, whether or not it is relabelled."""
    rows = np.arange(len(observed))
    cluster = np.where(evidence.twin_of >= 0, evidence.twin_of, rows)
    if not evidence.twin_judged or (cluster == rows).all():
        return _Twins(evidence.twin_of, np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool), {})
    # Of one label a row that is called wrong stands for the others, so that none of them stays as it was; of those that
    # get a label and those that have it, one that has it stays, whatever a reviewer makes of the others.
    told = _first_of(evidence.equal, observed, odd, ~changed)
    same = told != rows
    then = np.where(changed, evidence.proposed, observed)
    stays = rows.copy()
    stays[~same] = rows[~same][_first_of(evidence.equal[~same], then[~same], odd[~same], changed[~same])]
    stays = stays[told]
    head = stays[evidence.equal]
    repeated = np.where(stays != rows, stays, np.where(head != rows, head, stays[cluster]))
    spare = stays != rows
    repeated[repeated == rows] = -1
    rival: dict[int, int] = {}
    for row in map(int, np.flatnonzero(repeated >= 0)):
        first = int(repeated[row])
        if evidence.equal[first] == evidence.equal[row] and observed[first] != observed[row]:
            rival.setdefault(first, row)
    return _Twins(repeated, same, spare, rival)


def _first_of(equal: np.ndarray, labels: np.ndarray, *last: np.ndarray) -> np.ndarray:
    """The first row (n,) of equal content and label; those that are ``last`` (n,) come last, by the last key first."""
    import pandas as pd

    codes, names = pd.factorize(labels)
    key = equal * len(names) + codes
    order = np.lexsort((np.arange(len(key)), *last, key))
    begins = np.r_[True, np.diff(key[order]) != 0] if len(key) else np.zeros(0, dtype=bool)
    first = np.empty(len(key), dtype=np.int64)
    first[order] = order[begins][np.cumsum(begins) - 1]
    return first


def _action(verdict: str, twins: _Twins, row: int) -> str:
    return "drop" if verdict in (TWIN, WRONG) and twins.spare[row] else ACTIONS[verdict]


def _ids(samples: Samples, rows: Sequence[int]) -> str:
    return "; ".join(str(samples.ids[row]) for row in rows)


def _sentence(
    samples: Samples, evidence: Evidence, twins: _Twins, observed: np.ndarray, row: int, verdict: str
) -> str:
    parts = []
    if verdict == LEAK:
        what = "the same" if evidence.leak_exact[row] else "nearly the same"
        parts.append(f"{what} content stands in the trusted data as {evidence.leak_of[row]}")
    if evidence.odd[row]:
        parts.append(str(evidence.odd[row]))
    first = twins.rival.get(row, int(twins.repeated[row]))
    if first >= 0:
        what = "equals" if evidence.equal[row] == evidence.equal[first] else "nearly equals"
        labels = (
            "" if observed[first] == observed[row] else f", which is labelled {observed[first] or 'nothing'}"
        )
        parts.append(f"{what} {samples.ids[first]}{labels}")
    if verdict == FAR:
        parts.append("far from every class")
    if verdict == WRONG and samples.numeric:
        parts.append(f"others like it have about {evidence.proposed[row]}")
    elif verdict == WRONG:
        votes = len(evidence.supporters[row])
        if evidence.looked:
            parts.append(f"{votes} of {evidence.looked} neighbours are {evidence.proposed[row]}")
        share = f"{100 * evidence.observed_confidence[row]:.0f} %"
        parts.append(f"models that have not seen it give its label {share}")
    if not evidence.judged[row] and verdict == CLEAN:
        parts.append("its label was not judged")
    return "; ".join(parts)
