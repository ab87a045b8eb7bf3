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
ACTIONS = {WRONG: "relabel", LEAK: "flag", TWIN: "drop", CORRUPTED: "flag", FAR: "flag", CLEAN: "keep"}


@dataclass(frozen=True)
class Evidence:
    """Everything that the stages found, (n,) each unless said otherwise; −1 or "" where there is nothing.

    ``wrong``, ``score``, ``flags``, ``proposed`` (text), ``confidence``, ``observed_confidence``: of the label.
    ``far``, ``far_probability``, ``far_flags``: of belonging nowhere.  ``odd``: what is wrong at sight.
    ``twin_of``, ``exact``: duplicates.  ``leak_of``: ids in the trusted data.  ``supporters``: per row the neighbours
    with the proposed label.  ``looked``: how many neighbours were asked.  ``leak_exact``: whether the content is equal.
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
    exact: np.ndarray
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
    verdict = np.full(n, CLEAN, dtype=object)
    suspicion = np.clip(evidence.wrong, 0, 1).copy()
    twin = evidence.twin_of >= 0
    verdict[evidence.flags] = WRONG
    far = evidence.far_flags & (evidence.far_probability >= suspicion)
    verdict[far] = FAR
    judged_twin = twin & evidence.twin_judged
    verdict[judged_twin & ~evidence.flags] = TWIN
    odd = evidence.odd != ""
    verdict[odd] = CORRUPTED
    leak = evidence.leak_of != ""
    verdict[leak] = LEAK
    suspicion = np.maximum(suspicion, evidence.far_probability * far)
    suspicion = np.maximum(suspicion, evidence.odd_probability)
    near = (judged_twin & ~evidence.exact) | (leak & ~evidence.leak_exact)
    suspicion[near] = np.maximum(suspicion, 0.95)[near]
    suspicion[(leak & evidence.leak_exact) | (judged_twin & evidence.exact)] = 1.0
    place = {name: number for number, name in enumerate(VERDICTS)}
    kind = np.array([place[value] for value in verdict])
    order = np.lexsort((np.arange(n), -evidence.score, -np.round(suspicion, 9), kind == place[CLEAN]))
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(1, n + 1)
    # Nothing is known of a label that nobody has judged: no number stands for that, 0 least of all.
    suspicion[~evidence.judged & (verdict == CLEAN)] = np.nan
    observed = samples.observed()
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
            "action": [_action(v, evidence, row, observed) for row, v in enumerate(verdict)],
            "evidence": [
                _sentence(samples, evidence, observed, row, str(v)) for row, v in enumerate(verdict)
            ],
            "duplicate_of": [str(samples.ids[t]) if t >= 0 else "" for t in evidence.twin_of],
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


def _action(verdict: str, evidence: Evidence, row: int, observed: np.ndarray) -> str:
    if verdict == TWIN and not (evidence.exact[row] and observed[row] == observed[evidence.twin_of[row]]):
        return "flag"
    return ACTIONS[verdict]


def _ids(samples: Samples, rows: Sequence[int]) -> str:
    return "; ".join(str(samples.ids[row]) for row in rows)


def _sentence(samples: Samples, evidence: Evidence, observed: np.ndarray, row: int, verdict: str) -> str:
    parts = []
    if verdict == LEAK:
        what = "the same" if evidence.leak_exact[row] else "nearly the same"
        parts.append(f"{what} content stands in the trusted data as {evidence.leak_of[row]}")
    if evidence.odd[row]:
        parts.append(str(evidence.odd[row]))
    first = int(evidence.twin_of[row])
    if first >= 0:
        what = "equals" if evidence.exact[row] else "nearly equals"
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
