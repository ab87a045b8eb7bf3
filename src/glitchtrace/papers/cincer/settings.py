"""How a run of the loop goes on: sizes, training of its classifier, and what is measured."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.gradients import Classifier

KIND = "loop"
CARDS = {
    "interactive": {
        "summary": "Samples arrive one by one; the model is fitted again, from its initial weights, after each.",
        "label": "interactive",
        "settings": {
            "split": {
                "enum": ["official", "pooled"],
                "description": (
                    "Training and test part: the official ones where the source has them (`official`), or all its "
                    "rows divided anew, 20 % for testing (`pooled`), as every source without official parts."
                ),
                "default": "official",
            },
            "known": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "Samples known at the start: a number above 1, or a share of the training part up to 1.",
                "default": 100,
            },
            "iterations": {
                "type": "integer",
                "minimum": 1,
                "description": "Samples that arrive.",
                "default": 100,
            },
            "questions": {
                "type": ["integer", "null"],
                "minimum": 1,
                "description": "The run ends when this many questions have been answered; null for the whole stream.",
                "default": None,
            },
            "tolerance": {
                "type": "number",
                "minimum": 0,
                "description": "A warning says so where the number of wrong labels among known and arriving samples is "
                "further than this from the expected one; no number depends on it.",
                "default": 10,
            },
            "epochs": {
                "type": "integer",
                "minimum": 1,
                "description": "Epochs of each fit.",
                "default": 10,
            },
            "train_batch_size": {
                "type": "integer",
                "minimum": 1,
                "description": "Samples per training step.",
                "default": 32,
            },
            "prediction_batch": {
                "type": "integer",
                "minimum": 1,
                "description": "Samples per forward pass in prediction; no number depends on it.",
                "default": 1024,
            },
            "learning_rate": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "Step size of Adam.",
                "default": 0.001,
            },
            "bits": {
                "enum": [32, 64],
                "description": "Precision of weights and training; the algebra of scores is in 64 bits always.",
                "default": 32,
            },
            "early_stop": {
                "type": "boolean",
                "description": (
                    "End a fit at the training accuracy of the paper: 0.7 for regressions, 0.9 for networks."
                ),
                "default": False,
            },
            "warm_start": {
                "type": "boolean",
                "description": (
                    "Go on from the last weights, with the optimiser's state, instead of from the initial ones."
                ),
                "default": False,
            },
            "precision": {
                "type": "boolean",
                "description": (
                    "Measure how many of the first candidates are wrong: arriving samples have true labels and the "
                    "model is fitted once."
                ),
                "default": False,
            },
            "asks": {
                "type": "boolean",
                "description": "Whether suspicious samples are asked about; without, scores are collected and a "
                "threshold is found from them.",
                "default": True,
            },
            "correct_counter_examples": {
                "only_with": {"precision": [True]},
                "type": "boolean",
                "description": "With `precision`, correct wrong counter-examples that are shown, as published; later "
                "questions then find fewer.",
                "default": True,
            },
        },
    }
}


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """The settings of a loop, as the card of ``interactive`` describes them."""

    split: str
    known: float
    iterations: int
    questions: int | None
    tolerance: float
    epochs: int
    train_batch_size: int
    prediction_batch: int
    learning_rate: float
    bits: int
    early_stop: bool
    warm_start: bool
    precision: bool
    asks: bool
    correct_counter_examples: bool

    def training(self, *, epochs: int, stop_accuracy: float | None) -> "TrainingSettings":
        """The settings of a fit of so many epochs; ``stop_accuracy``: that of the model, where the loop uses it."""
        return TrainingSettings(
            epochs=epochs,
            batch_size=self.train_batch_size,
            learning_rate=self.learning_rate,
            stop_accuracy=stop_accuracy if self.early_stop else None,
            warm=self.warm_start,
        )


COMPONENTS = {"interactive": LoopSettings}


@dataclass(frozen=True)
class TrainingSettings:
    """Adam on the mean cross-entropy, in shuffled mini-batches.

    ``stop_accuracy``: stop after the first epoch at whose end the training accuracy reaches it; None trains all
    epochs.  ``warm``: continue from the last weights with the optimiser's state, instead of from the initial ones.
    """

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    stop_accuracy: float | None = None
    warm: bool = False

    def ends_after(
        self,
        epoch: int,
        model: Classifier,
        before: dict[str, Any],
        inputs: np.ndarray,
        labels: np.ndarray,
        *,
        finite: bool,
    ) -> bool:
        """Whether the fit of ``model`` ends early after an epoch, counted from 1; ``finite``: whether its weights are.

        Where weights or outputs are not finite the model is restored to the snapshot ``before``, and GlitchtraceError
        raised.
        """
        # A loss that is not finite spoils the weights in the next step; after the last there is none.
        if finite and (epoch == self.epochs or self.stop_accuracy is not None):
            finite = bool(np.isfinite(model.probabilities(inputs[: self.batch_size])).all())
        if not finite:
            model.restore(before)
            raise GlitchtraceError(
                f"training diverged in epoch {epoch} at learning rate {self.learning_rate:g}; "
                "lower learning_rate of the loop"
            )
        if self.stop_accuracy is None:
            return False
        right = model.probabilities(inputs).argmax(axis=1) == labels
        return bool(right.mean() >= self.stop_accuracy)
