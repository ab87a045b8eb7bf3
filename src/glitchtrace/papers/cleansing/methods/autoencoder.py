"""Reconstruction error of an autoencoder that has seen the validation pictures, an outlier baseline.

Trained on the validation set with the augmentation of the protocol, by Adam; the score of a training picture
is its mean squared error.  Source: docs/methods/sgd-influence.md#rivals (Hara et al. 2019, section 7.2).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glitchtrace.core.seeding import generator
from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.training.sgd import batches

KIND = "cleansing_method"
CARD = {
    "label": "autoencoder",
    "summary": "Reconstruction error of an autoencoder trained on the validation pictures.",
    "views": ["pictures"],
    "reads": "nothing",
    "settings": {
        "epochs": {
            "type": "integer",
            "minimum": 1,
            "description": "Passes over the validation pictures.",
            "default": 20,
        },
        "learning_rate": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Rate of Adam.",
            "default": 0.001,
        },
        "batch_size": {
            "type": "integer",
            "minimum": 1,
            "description": "Pictures per step.",
            "default": 128,
        },
    },
}

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
# Channels of the two encoding convolutions and of the three decoding ones, of grey and of colour pictures.
_GREY, _COLOUR = ((24, 12), (12, 24)), ((64, 32), (32, 64))


class Autoencoder(nn.Module):
    """Two convolutions with pooling, three transposed convolutions, tanh: pictures in [−1, 1] to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        (wide, narrow), (first, second) = _GREY if channels == 1 else _COLOUR
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(wide, narrow, 3),
            nn.ReLU(),
            nn.MaxPool2d(2, stride=1),
            nn.ConvTranspose2d(narrow, first, 5, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(first, second, 4),
            nn.ReLU(),
            nn.ConvTranspose2d(second, channels, 3),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction (B, C, H, W), cut or padded to the size of the picture where the layers miss it."""
        found: Tensor = self.layers(x)
        rows, columns = (side - size for side, size in zip(x.shape[2:], found.shape[2:], strict=True))
        return nn.functional.pad(found, (0, columns, 0, rows))


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """Mean squared reconstruction error of the training pictures without augmentation, (n,)."""
    cell, device = problem.setting.cell, problem.device
    rng = generator(problem.seed, "autoencoder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network = Autoencoder(cell.train.shape[0]).to(device)
    adam = _Adam(list(network.parameters()), settings["learning_rate"])
    for _ in range(settings["epochs"]):
        for rows in batches(rng.permutation(len(cell.validation)), settings["batch_size"]):
            seeds = rng.integers(2**62, size=len(rows))
            x = problem.setting.augmentation.apply(cell.validation.batch(rows), seeds).to(device)
            adam.step(((network(x) - x) ** 2).mean())
    errors = []
    with torch.inference_mode():
        for rows in batches(np.arange(len(cell.train)), problem.evaluation_batch):
            x = cell.train.batch(rows).to(device)
            errors.append(((network(x) - x) ** 2).mean(dim=(1, 2, 3)).double().cpu().numpy())
    return Scored(np.concatenate(errors))


class _Adam:
    """Adam (Kingma and Ba 2015), plain: torch's own imports its compiler, 1.5 CPU seconds."""

    def __init__(self, parameters: list[nn.Parameter], rate: float) -> None:
        self._parameters, self._rate, self._steps = parameters, rate, 0
        self._first = [torch.zeros_like(parameter) for parameter in parameters]
        self._second = [torch.zeros_like(parameter) for parameter in parameters]

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of a loss."""
        gradients = torch.autograd.grad(loss, self._parameters)
        self._steps += 1
        with torch.no_grad():
            for parameter, gradient, first, second in zip(
                self._parameters, gradients, self._first, self._second, strict=True
            ):
                first.lerp_(gradient, 1 - _BETAS[0])
                second.lerp_(gradient**2, 1 - _BETAS[1])
                scale = (second / (1 - _BETAS[1] ** self._steps)).sqrt_().add_(_EPSILON)
                parameter.addcdiv_(first, scale, value=-self._rate / (1 - _BETAS[0] ** self._steps))
