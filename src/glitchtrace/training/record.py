"""What is kept of the evaluation after each epoch: the factors of the closed form, and the history."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from glitchtrace.models.network import Network
from glitchtrace.training.evaluation import by_kind, evaluate
from glitchtrace.training.sgd import Samples


@dataclass(frozen=True)
class Part:
    """Samples to be recorded, their observed labels (n,), and their kinds (n,) where these differ."""

    samples: Samples
    labels: np.ndarray
    kinds: np.ndarray | None = None


class Recorder:
    """Records ``network`` by one pass in eval mode over each part, the pass that all estimators share."""

    def __init__(
        self,
        network: Network,
        parts: Mapping[str, Part],
        *,
        learning_rate: float,
        batch_size: int,
        evaluation_batch: int,
        device: torch.device,
    ) -> None:
        self._network = network
        self._parts = parts
        self._learning_rate = learning_rate
        self._batch_size = batch_size
        self._evaluation_batch = evaluation_batch
        self._device = device
        self._outputs: dict[str, np.ndarray] = {}
        self._epochs = 0
        self._history: list[dict[str, Any]] = []

    def record(self, epoch: int) -> None:
        """Record the network as it is after ``epoch``, counted from 1 without gaps."""
        self._epochs = epoch
        for name, part in self._parts.items():
            outputs = evaluate(
                self._network, part.samples, batch_size=self._evaluation_batch, device=self._device
            )
            self._outputs[f"{name}/probabilities/{epoch:03d}"] = outputs.probabilities
            if self._network.frozen_features:
                self._outputs[f"{name}/features"] = outputs.features
            else:
                self._outputs[f"{name}/features/{epoch:03d}"] = outputs.features
            for kind, count, accuracy, loss in by_kind(outputs, part.labels, part.kinds):
                self._history.append(
                    {
                        "epoch": epoch,
                        "learning_rate": self._learning_rate,
                        "part": name,
                        "kind": kind,
                        "count": count,
                        "accuracy": accuracy,
                        "loss": loss,
                    }
                )

    def factors(self) -> dict[str, np.ndarray]:
        """The tensors of factors.safetensors."""
        return {
            "learning_rates": np.full(self._epochs, self._learning_rate, dtype=np.float64),
            "batch_size": np.array([self._batch_size]),
            **{f"{name}/labels": part.labels for name, part in self._parts.items()},
            **self._outputs,
        }

    def history(self) -> pd.DataFrame:
        """The table of history.parquet."""
        return pd.DataFrame(self._history)
