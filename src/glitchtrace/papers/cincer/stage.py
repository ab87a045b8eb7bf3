"""Stage: one repeat of the interactive loop with the simulated annotator, from names and settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.core.seeding import generator
from glitchtrace.papers.cincer.dense import DenseNetwork, ProductNetwork
from glitchtrace.papers.cincer.gradients import Classifier
from glitchtrace.papers.cincer.loop import Loop, Question
from glitchtrace.papers.cincer.problem import Problem, Start, load_problem, outlier_subset, start_states
from glitchtrace.papers.cincer.query import load_inspector, load_negotiator
from glitchtrace.papers.cincer.settings import LoopSettings, TrainingSettings

if TYPE_CHECKING:
    from glitchtrace.models.network import Network
    from glitchtrace.papers.cincer.torch_classifier import Passes


class Annotator(Protocol):
    """Answers questions."""

    def labels(self, question: Question) -> dict[int, int]:
        """Labels of the samples asked about; a sample left out keeps its label."""
        ...


class PerfectAnnotator:
    """The simulated annotator of the published experiments, who knows every true label."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth

    def labels(self, question: Question) -> dict[int, int]:
        """The true labels of the samples asked about."""
        return {sample: int(self.truth[sample]) for sample in question.pool}


def run(loop: Loop, annotator: Annotator, *, questions: int | None = None) -> None:
    """Drive a loop to the end of its stream, or until ``questions`` have been answered."""
    while (question := loop.advance()) is not None:
        loop.answer(annotator.labels(question))
        if questions is not None and question.number >= questions:
            return


def build_classifier(
    model: str,
    settings: Mapping[str, Any],
    *,
    shape: tuple[int, ...],
    classes: int,
    training: TrainingSettings,
    bits: int = 32,
    prediction_batch: int = 1024,
    device: str = "cpu",
) -> Classifier:
    """The classifier of a registered model for samples of ``shape``, with the initial values of its ``head_seed``.

    Dense models have passes of their own in NumPy, others run in PyTorch on ``device``.  Raises GlitchtraceError for
    a shape that the model cannot take.
    """
    loop = registry.card("model", model)["loop"]
    dtype = np.float64 if bits == 64 else np.float32
    if loop["dense"]:
        options: dict[str, Any] = {
            "activation": settings.get("activation", "relu"),
            "dropout": settings.get("dropout", 0.0),
            "training": training,
            "dtype": dtype,
            "prediction_batch": prediction_batch,
            "rng": generator(settings["head_seed"], "cincer initial values"),
        }
        inputs, widths = int(np.prod(shape)), [*settings.get("hidden", ()), classes]
        if loop["dense"] == "products":
            return ProductNetwork(inputs, widths, **options)
        return DenseNetwork([inputs, *widths], **options)
    from glitchtrace.models.convnets import Convolutional
    from glitchtrace.papers.cincer.convolutional import ConvolutionalPasses
    from glitchtrace.papers.cincer.torch_classifier import AutogradPasses, TorchClassifier
    from glitchtrace.training.device import choose

    channels_first = (1, *shape) if len(shape) == 2 else (shape[-1], *shape[:-1])
    network = registry.load("model", model).build(channels_first, classes, settings)
    passes: Callable[[Network], Passes] = (
        ConvolutionalPasses if isinstance(network, Convolutional) else AutogradPasses
    )
    return TorchClassifier(
        network,
        classes=classes,
        training=training,
        dtype=dtype,
        prediction_batch=prediction_batch,
        device=choose(device),
        passes=passes,
    )


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


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """What makes a repeat what it is, up to its first fit; names with their settings.

    ``ratio``: share of wrong labels, or ``clean``; ``seed`` is that of the run, and ``repeat`` counts from 0.
    """

    model: str
    model_settings: Mapping[str, Any]
    protocol: LoopSettings
    noise: str
    ratio: str
    seed: int
    repeat: int
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class AskingRepeat(Repeat):
    """The same with what asks: the inspector, its threshold, and the negotiator."""

    inspector: str
    inspector_settings: Mapping[str, Any]
    threshold: float
    negotiator: str
    negotiator_settings: Mapping[str, Any]


def clean_interactively(
    *, features: str, trace: str, questions: str, protocol: Mapping[str, Any], **named: Any
) -> None:
    """Write the trace of one repeat, a row per iteration, and its questions.

    ``protocol``: see ``LoopSettings``; ``named``: what else ``AskingRepeat`` holds.  The trace has the quality on
    the test part after every fit and all counts so far.  A question names the rows of the samples in their source,
    their labels before and after, and the true ones; −1 stands for no counter-example.  Raises GlitchtraceError for
    settings that leave nothing to do, and for a curvature that cannot be inverted.
    """
    settings = LoopSettings(**protocol)
    problem = load_problem(features, bits=settings.bits, split=settings.split)
    loop = open_loop(problem, AskingRepeat(protocol=settings, **named))
    run(loop, PerfectAnnotator(loop.problem.truth), questions=settings.questions)
    files.write_parquet(pd.DataFrame(loop.state.rows), trace)
    files.write_parquet(question_table(loop), questions)


def open_loop(problem: Problem, repeat: AskingRepeat) -> Loop:
    """The loop of one repeat at its start.

    Each repeat draws from a generator of its own, so that repeats are independent jobs; published was one generator
    for all repeats in turn.
    """
    begun, protocol = begin(problem, repeat), repeat.protocol
    return Loop(
        begun.problem,
        begun.start,
        classifier=begun.classifier,
        inspector=load_inspector(repeat.inspector, repeat.threshold, repeat.inspector_settings),
        negotiator=load_negotiator(repeat.negotiator, repeat.negotiator_settings),
        rng=begun.rng,
        training_rng=begun.training_rng,
        precision=protocol.precision,
        corrects=protocol.correct_counter_examples or not protocol.precision,
        asks=protocol.asks,
    )


@dataclass(frozen=True)
class Begun:
    """A repeat before its first fit: its problem, start state, model, and generators of scores and of training."""

    problem: Problem
    start: Start
    classifier: Classifier
    rng: np.random.RandomState
    training_rng: np.random.Generator


def begin(problem: Problem, repeat: Repeat) -> Begun:
    """One repeat before its first fit.

    Start states come from one legacy generator of the seed, as published.  Raises GlitchtraceError where a noise other
    than random leaves no wrong label, as published too.
    """
    protocol, seed = repeat.protocol, repeat.seed
    noise = registry.card("noise", repeat.noise)
    rng = np.random.RandomState(seed)
    if noise.get("subsample"):
        problem = outlier_subset(problem, known=protocol.known, iterations=protocol.iterations, rng=rng)

    def classifier(epochs: int) -> Classifier:
        stop_accuracy = registry.card("model", repeat.model)["loop"]["stop_accuracy"]
        return build_classifier(
            repeat.model,
            repeat.model_settings,
            shape=problem.inputs.shape[1:],
            classes=problem.classes,
            training=protocol.training(epochs=epochs, stop_accuracy=stop_accuracy),
            bits=protocol.bits,
            prediction_batch=protocol.prediction_batch,
            device=repeat.device,
        )

    starts = start_states(
        problem,
        annotate=registry.load("noise", repeat.noise).annotate,
        ratio=0.0 if repeat.ratio == "clean" else float(repeat.ratio),
        known=protocol.known,
        iterations=protocol.iterations,
        repeats=repeat.repeat + 1,
        precision=protocol.precision,
        rng=rng,
        train_margins=_margins(problem, lambda: classifier(_MARGIN_EPOCHS), seed),
        tolerance=protocol.tolerance,
        needs_wrong=not noise.get("clean"),
    )
    return Begun(
        problem,
        starts[repeat.repeat],
        classifier(protocol.epochs),
        np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, repeat.repeat]))),
        generator(seed, f"cincer training {repeat.repeat}"),
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
