"""The interactive loop: a sample arrives, is inspected, perhaps asked about, and the model is fitted again.

The loop is a machine that stops where an answer is needed: ``advance`` works through the stream up to the next
question and returns it, ``answer`` takes the labels that the annotator gives.  A simulated annotator, a person in
the terminal and a page in the browser drive the same machine, and a snapshot of it can be restored.

A step computes first and changes the machine last, so that one which fails (a curvature that cannot be inverted, a
fit that diverges) leaves it as it was.
"""

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.gradients import Classifier
from glitchtrace.papers.cincer.problem import Problem, Start
from glitchtrace.papers.cincer.query import Inspector, Negotiator, Query, Ranking, largest_distance

CALIBRATION_BUCKETS = 3


def weighted_scores(truth: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[float, float, float]:
    """Precision, recall and F1 averaged over classes by support; 0 for what is undefined."""
    table = np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    right, support, flagged = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    precision = _ratio(right, flagged)
    recall = _ratio(right, support)
    f1 = _ratio(2 * right, support + flagged)
    weights = support / support.sum()
    return float(weights @ precision), float(weights @ recall), float(weights @ f1)


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error over buckets of equal mass of the largest probability.

    Edges are the samples nearest to the quantiles at 0, 1/3, 2/3 and 1, each the first of its bucket:
    Σ_b n_b/N |accuracy_b − mean confidence_b|.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    edges = np.quantile(confidence, np.linspace(0, 1, CALIBRATION_BUCKETS + 1), method="nearest")
    bucket = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, CALIBRATION_BUCKETS - 1)
    error = 0.0
    for number in range(CALIBRATION_BUCKETS):
        chosen = bucket == number
        if chosen.any():
            error += chosen.mean() * abs(right[chosen].mean() - confidence[chosen].mean())
    return float(error)


def precision_at(wrong: np.ndarray, k: int, *, available: bool = False) -> float:
    """Share of wrong labels among the first ``k`` candidates; ``wrong`` (n,) is in their order.

    The divisor is k, also where there are fewer candidates, as published; with ``available`` it is min(k, n).
    NaN without candidates.
    """
    if not len(wrong):
        return float("nan")
    return float(wrong[:k].sum() / (min(k, len(wrong)) if available else k))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0))


_log = logging.getLogger(__name__)

PRECISIONS = (5, 10, 25)
# Letters of a case: annotated label right (U), model right (M), counter-example right (E); lower case for wrong.
CASES = ("umE", "uME", "UmE", "ume", "uMe", "Ume", "me", "ue", "Me", "Ue", "mE", "uE", "ME", "UE")


@dataclass(frozen=True)
class Question:
    """What the annotator is asked: the suspicious sample, the counter-example or None, and the labels involved."""

    number: int
    iteration: int
    example: int
    annotated: int
    predicted: int
    counter_example: int | None
    counter_annotated: int | None
    drops: bool

    @property
    def pool(self) -> tuple[int, ...]:
        """Samples whose labels may be given."""
        shown = None if self.drops else self.counter_example
        return (self.example,) if shown is None else (self.example, shown)


@dataclass
class State:
    """Everything that changes in a run."""

    labels: np.ndarray
    known: list[int]
    position: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)


class Loop:
    """One repeat.

    Args:
        problem: training and test part.
        start: the start state.
        classifier: fitted anew after every arrival.
        inspector, negotiator: see ``roles``.
        rng: drawn from by inspector and negotiator.
        training_rng: shuffles and drops in training.
        precision: measure the order of candidates: the model is fitted once, and whole orders are asked for.
        corrects: with ``precision``, whether wrong counter-examples are corrected when they are shown, as published.
        asks: whether suspicious samples are asked about; without, their scores are recorded and nothing else.
    """

    def __init__(
        self,
        problem: Problem,
        start: Start,
        *,
        classifier: Classifier,
        inspector: Inspector,
        negotiator: Negotiator,
        rng: np.random.RandomState,
        training_rng: np.random.Generator,
        precision: bool = False,
        corrects: bool = True,
        asks: bool = True,
    ) -> None:
        self.problem, self.start = problem, start
        self.classifier, self.inspector, self.negotiator = classifier, inspector, negotiator
        self.rng, self.training_rng = rng, training_rng
        self.precision, self.corrects, self.asks = precision, corrects, asks
        self._diameters: dict[str, float] = {}
        names = ["n_queried", "n_mistakes_seen", "n_cleaned", "n_cleaned_ce", "n_cleaned_ex"]
        names += [f"case{number}" for number in range(1, len(CASES) + 1)]
        self.state = State(start.labels.copy(), [int(i) for i in start.known], counts=dict.fromkeys(names, 0))
        self._asked: tuple[Question, float, Ranking | None] | None = None
        self._fit(self.state.known, self.state.labels)
        self._record(suspiciousness=0.0)

    # --- the machine --------------------------------------------------------------------------------------------

    def advance(self) -> Question | None:
        """Go on to the next question; None at the end of the stream.

        Calling it again before the question is answered returns the same question.  Raises GlitchtraceError where
        a score cannot be found or a fit diverges: the sample has then not arrived, and the same call fails again.
        """
        if self._asked:
            return self._asked[0]
        state = self.state
        while state.position < len(self.start.stream):
            example = int(self.start.stream[state.position])
            known = [*state.known, example]
            with self._keeping_draws():
                query = self._query(example, known)
                verdict = self.inspector.inspect(query, self.rng)
                suspicious = self.asks and verdict.suspicious and query.predicted != query.annotated
                asked = self._ask(query) if suspicious else None
                if asked is None and not self.precision:
                    self._fit(known, state.labels)
            state.position += 1
            state.known = known
            state.counts["n_mistakes_seen"] += int(self._wrong(example))
            if asked is not None:
                question, ranking = asked
                state.counts["n_queried"] = question.number
                self._asked = (question, verdict.score, ranking)
                return question
            self._record(suspiciousness=verdict.score)
        return None

    def answer(self, labels: Mapping[int, int], *, unsure: bool = False) -> None:
        """Take the labels that the annotator gives to the samples of the question's pool.

        A sample that is not named keeps its label; where the annotator is ``unsure`` that confirms none.  Raises
        GlitchtraceError where no question is open, a label is no class, a sample was not asked about, or the fit
        diverges; then nothing has changed.
        """
        question = self.check_answer(labels)
        assert self._asked is not None
        _, score, ranking = self._asked
        state = self.state
        given = {sample: int(labels.get(sample, state.labels[sample])) for sample in question.pool}
        confirmed = given[question.example] == question.annotated and not unsure
        corrected = [sample for sample in question.pool if sample == question.example or self.corrects]
        after, known = state.labels.copy(), state.known
        for sample in corrected:
            after[sample] = given[sample]
        if question.drops and confirmed:
            known = [sample for sample in known if sample != question.counter_example]
        if not self.precision:
            with self._keeping_draws():
                self._fit(known, after)
        self._asked = None
        # What was shown is counted with the labels that it had then.
        wrong_counter_example = False
        if question.counter_example is not None:
            wrong_counter_example = self._count_cases(question)
        precisions = self._precisions(ranking)
        mistaken = [sample for sample in corrected if self._wrong(sample)]
        state.labels, state.known = after, known
        state.counts["n_cleaned"] += sum(not self._wrong(sample) for sample in mistaken)
        state.questions.append(
            {
                "question": question.number,
                "iteration": question.iteration,
                "example": question.example,
                "annotated": question.annotated,
                "predicted": question.predicted,
                "counter_example": -1 if question.counter_example is None else question.counter_example,
                "counter_annotated": -1 if question.counter_annotated is None else question.counter_annotated,
                "given": given[question.example],
                "counter_given": given.get(question.counter_example, -1)
                if question.counter_example is not None
                else -1,
            }
        )
        self._record(
            suspiciousness=score,
            best_score=float("nan") if ranking is None else ranking.best,
            wrong_counter_example=wrong_counter_example,
            **precisions,
        )

    def check_answer(self, labels: Mapping[int, int]) -> Question:
        """The open question.  Raises GlitchtraceError as ``answer`` would for these labels; nothing changes."""
        if not self._asked:
            raise GlitchtraceError("answer: no question is open")
        question = self._asked[0]
        for sample, label in labels.items():
            if sample not in question.pool:
                raise GlitchtraceError(f"answer: sample {sample} was not asked about")
            if label not in range(self.problem.classes):
                raise GlitchtraceError(
                    f"answer: {label!r} is no class; give a number from 0 to {self.problem.classes - 1}"
                )
        return question

    def snapshot(self) -> dict[str, Any]:
        """The whole machine between two calls, for ``restore``."""
        return {
            "state": copy.deepcopy(self.state),
            "asked": self._asked,
            "rng": self.rng.get_state(),
            "training_rng": copy.deepcopy(self.training_rng.bit_generator.state),
            "classifier": self.classifier.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Come back to a snapshot."""
        self.state = copy.deepcopy(snapshot["state"])
        self._asked = snapshot["asked"]
        self.rng.set_state(snapshot["rng"])
        self.training_rng.bit_generator.state = copy.deepcopy(snapshot["training_rng"])
        self.classifier.restore(snapshot["classifier"])
        self.__dict__.pop("_quality", None)

    # --- steps --------------------------------------------------------------------------------------------------

    def _query(self, example: int, known: Sequence[int]) -> Query:
        inputs = self.problem.inputs
        return Query(
            classifier=self.classifier,
            inputs=inputs,
            labels=self.state.labels,
            known=known,
            example=example,
            probabilities=self.classifier.probabilities(inputs[example : example + 1])[0],
            diameter=self._diameter,
            whole_order=self.precision,
        )

    def _ask(self, query: Query) -> tuple[Question, Ranking | None]:
        """The question about the sample that comes next, and the order of its candidates."""
        iteration = self.state.position + 1
        ranking = None
        if self.negotiator.rank is not None:
            if len(query.candidates):
                ranking = self.negotiator.rank(query, self.rng)
            else:
                _log.warning(
                    "iteration %d: no known sample is annotated %d; sample %d is asked about alone",
                    iteration,
                    query.predicted,
                    query.example,
                )
        chosen = None if ranking is None else ranking.chosen
        question = Question(
            number=self.state.counts["n_queried"] + 1,
            iteration=iteration,
            example=query.example,
            annotated=query.annotated,
            predicted=query.predicted,
            counter_example=chosen,
            counter_annotated=None if chosen is None else int(self.state.labels[chosen]),
            drops=self.negotiator.drops,
        )
        return question, ranking

    @contextmanager
    def _keeping_draws(self) -> Iterator[None]:
        """Set both generators back where the block fails."""
        rng, training_rng = self.rng.get_state(), self.training_rng.bit_generator.state
        try:
            yield
        except GlitchtraceError:
            self.rng.set_state(rng)
            self.training_rng.bit_generator.state = training_rng
            raise

    def _fit(self, known: Sequence[int], labels: np.ndarray) -> None:
        chosen = np.asarray(known)
        self.classifier.fit(self.problem.inputs[chosen], labels[chosen], self.training_rng)
        self.__dict__.pop("_quality", None)

    def _wrong(self, sample: int) -> bool:
        return bool(self.state.labels[sample] != self.problem.truth[sample])

    def _count_cases(self, question: Question) -> bool:
        """Count what the annotator is about to see; whether the counter-example is wrong."""
        counts = self.state.counts
        assert question.counter_example is not None
        example_wrong, counter_wrong = self._wrong(question.example), self._wrong(question.counter_example)
        model_wrong = question.predicted != self.problem.truth[question.example]
        facts = {"u" if example_wrong else "U", "m" if model_wrong else "M", "e" if counter_wrong else "E"}
        for number, case in enumerate(CASES, start=1):
            counts[f"case{number}"] += int(set(case) <= facts)
        counts["n_cleaned_ce"] += int(counter_wrong)
        counts["n_cleaned_ex"] += int(example_wrong)
        return counter_wrong

    def _precisions(self, ranking: Ranking | None) -> dict[str, float]:
        if not self.precision or ranking is None:
            return {}
        wrong = self.state.labels[ranking.order] != self.problem.truth[ranking.order]
        found = {f"ce_pr_at_{k}": precision_at(wrong, k) for k in PRECISIONS}
        return found | {f"ce_pr_at_{k}_available": precision_at(wrong, k, available=True) for k in PRECISIONS}

    def _diameter(self, samples: str) -> float:
        if samples not in self._diameters:
            inputs = self.problem.inputs
            if samples == "experiment":
                inputs = inputs[np.concatenate([self.start.known, self.start.stream])]
            self._diameters[samples] = largest_distance(inputs)
        return self._diameters[samples]

    @cached_property
    def _quality(self) -> dict[str, float]:
        """Quality of the fitted model on the test part."""
        probabilities = self.classifier.probabilities(self.problem.test_inputs)
        truth = self.problem.test_truth
        precision, recall, f1 = weighted_scores(truth, probabilities.argmax(axis=1), self.problem.classes)
        ece = calibration_error(probabilities, truth)
        return {"precision": precision, "recall": recall, "f1": f1, "ece": ece}

    def _record(self, *, suspiciousness: float, best_score: float = float("nan"), **row: Any) -> None:
        precisions = {f"ce_pr_at_{k}{end}": float("nan") for k in PRECISIONS for end in ("", "_available")}
        self.state.rows.append(
            {
                "iteration": len(self.state.rows),
                **self._quality,
                **self.state.counts,
                "suspiciousness": suspiciousness,
                "best_score": best_score,
                "wrong_counter_example": False,
                **precisions,
                **row,
            }
        )
