"""Stage: one repeat of the interactive loop with the simulated annotator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.core.seeding import generator
from glitchtrace.papers.cincer.annotator import PerfectAnnotator, run
from glitchtrace.papers.cincer.build import build_classifier
from glitchtrace.papers.cincer.classifier import Classifier
from glitchtrace.papers.cincer.loop import Loop
from glitchtrace.papers.cincer.problem import Problem, load_problem
from glitchtrace.papers.cincer.roles import load_inspector, load_negotiator
from glitchtrace.papers.cincer.streams import Start, outlier_subset, start_states
from glitchtrace.papers.cincer.training_settings import TrainingSettings

# Epochs of the model behind the noises that follow margins, as published.
_MARGIN_EPOCHS = 10
_QUESTION_COLUMNS = (
    "question",
    "iteration",
    "example",
    "annotated",
    "predicted",
    "counter_example",
    "counter_annotated",
    "given",
    "counter_given",
)


def clean_interactively(
    *,
    features: str,
    trace: str,
    questions: str,
    model: str,
    model_settings: Mapping[str, Any],
    protocol: Mapping[str, Any],
    noise: str,
    ratio: str,
    inspector: str,
    inspector_settings: Mapping[str, Any],
    threshold: float,
    negotiator: str,
    negotiator_settings: Mapping[str, Any],
    seed: int,
    repeat: int,
    device: str = "cpu",
) -> None:
    """Write the trace of one repeat, a row per iteration, and its questions.

    The trace has the quality on the test part after every fit and all counts so far.  A question names the rows of
    the samples in their source, their labels before and after, and the true ones; −1 stands for no counter-example.
    Raises GlitchtraceError for settings that leave nothing to do, and for a curvature that cannot be inverted.
    """
    loop = open_loop(
        load_problem(features, bits=protocol["bits"], split=protocol["split"]),
        model=model,
        model_settings=model_settings,
        protocol=protocol,
        noise=noise,
        ratio=ratio,
        inspector=inspector,
        inspector_settings=inspector_settings,
        threshold=threshold,
        negotiator=negotiator,
        negotiator_settings=negotiator_settings,
        seed=seed,
        repeat=repeat,
        device=device,
    )
    run(loop, PerfectAnnotator(loop.problem.truth), questions=protocol["questions"])
    files.write_parquet(pd.DataFrame(loop.state.rows), trace)
    files.write_parquet(question_table(loop), questions)


def open_loop(
    problem: Problem,
    *,
    protocol: Mapping[str, Any],
    inspector: str,
    inspector_settings: Mapping[str, Any],
    threshold: float,
    negotiator: str,
    negotiator_settings: Mapping[str, Any],
    **repeat: Any,
) -> Loop:
    """The loop of one repeat at its start; ``repeat``: what else ``begin`` takes.

    Each repeat draws from a generator of its own, so that repeats are independent jobs; published was one generator
    for all repeats in turn.
    """
    begun = begin(problem, protocol=protocol, **repeat)
    return Loop(
        begun.problem,
        begun.start,
        classifier=begun.classifier,
        inspector=load_inspector(inspector, threshold, inspector_settings),
        negotiator=load_negotiator(negotiator, negotiator_settings),
        rng=begun.rng,
        training_rng=begun.training_rng,
        precision=protocol["precision"],
        corrects=protocol["correct_counter_examples"] or not protocol["precision"],
        asks=protocol["asks"],
    )


@dataclass(frozen=True)
class Begun:
    """A repeat before its first fit: its problem, start state, model, and generators of scores and of training."""

    problem: Problem
    start: Start
    classifier: Classifier
    rng: np.random.RandomState
    training_rng: np.random.Generator


def begin(
    problem: Problem,
    *,
    model: str,
    model_settings: Mapping[str, Any],
    protocol: Mapping[str, Any],
    noise: str,
    ratio: str,
    seed: int,
    repeat: int,
    device: str = "cpu",
) -> Begun:
    """One repeat before its first fit.

    Start states come from one legacy generator of ``seed``, as published.  Raises GlitchtraceError where a noise other
    than random leaves no wrong label, as published too.
    """
    rng = np.random.RandomState(seed)
    if registry.card("noise", noise).get("subsample"):
        problem = outlier_subset(problem, known=protocol["known"], iterations=protocol["iterations"], rng=rng)

    def classifier(epochs: int) -> Classifier:
        return build_classifier(
            model,
            model_settings,
            shape=problem.inputs.shape[1:],
            classes=problem.classes,
            training=TrainingSettings(
                epochs=epochs,
                batch_size=protocol["train_batch_size"],
                learning_rate=protocol["learning_rate"],
                stop_accuracy=registry.card("model", model)["loop"]["stop_accuracy"]
                if protocol["early_stop"]
                else None,
                warm=protocol["warm_start"],
            ),
            bits=protocol["bits"],
            prediction_batch=protocol["prediction_batch"],
            device=device,
        )

    starts = start_states(
        problem,
        annotate=registry.load("noise", noise).annotate,
        ratio=0.0 if ratio == "clean" else float(ratio),
        known=protocol["known"],
        iterations=protocol["iterations"],
        repeats=repeat + 1,
        precision=protocol["precision"],
        rng=rng,
        train_margins=_margins(problem, lambda: classifier(_MARGIN_EPOCHS), seed),
        tolerance=protocol["tolerance"],
        needs_wrong=not registry.card("noise", noise).get("clean"),
    )
    return Begun(
        problem,
        starts[repeat],
        classifier(protocol["epochs"]),
        np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, repeat]))),
        generator(seed, f"cincer training {repeat}"),
    )


def question_table(loop: Loop) -> pd.DataFrame:
    """The questions of a loop with rows of the source instead of places in the training part, and true labels."""
    table = pd.DataFrame(loop.state.questions, columns=list(_QUESTION_COLUMNS)).astype(np.int64)
    for column, truth in (("example", "true_label"), ("counter_example", "counter_true_label")):
        places = table[column].to_numpy()
        shown = places >= 0
        table[truth] = np.where(shown, loop.problem.truth[places], -1)
        table[column] = np.where(shown, loop.problem.rows[places], -1)
    return table


def _margins(problem: Problem, make: Callable[[], Classifier], seed: int) -> Callable[[], np.ndarray]:
    """Trains once, on clean labels, when a noise asks for margins."""
    found: list[np.ndarray] = []

    def margins() -> np.ndarray:
        if not found:
            model = make()
            model.fit(problem.inputs, problem.truth, generator(seed, "cincer margins"))
            probabilities = model.probabilities(problem.inputs)
            found.append(probabilities.max(axis=1) - probabilities.min(axis=1))
        return found[0]

    return margins
