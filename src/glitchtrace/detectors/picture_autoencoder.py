"""Reconstruction error of a convolutional autoencoder of pictures.

Source: docs/methods/sgd-influence.md#rivals (Hara et al. 2019, section 7.2).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from glitchtrace.core.heap import kept_heap
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.evidence import Detection, Evidence
from glitchtrace.training.device import global_generators_kept
from glitchtrace.training.sgd import batches

KIND = "detector"
CARD = {
    "label": "picture autoencoder",
    "summary": "Reconstruction error of a convolutional autoencoder of the pictures.",
    "needs": ["pictures"],
    "finds": "anomaly",
    "family": "anomalies",
    "settings": {
        "epochs": {
            "type": "integer",
            "minimum": 1,
            "description": "Passes.",
            "default": 20,
        },
    },
}

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_SMALLEST = 10  # pixels of a side that the layers can pass
# Channels of the two encoding convolutions and of the three decoding ones, of grey and of colour pictures.
_GREY, _COLOUR = ((24, 12), (12, 24)), ((64, 32), (32, 64))


class Autoencoder(nn.Module):
    """Two convolutions with pooling, three transposed convolutions, tanh: pictures in [−1, 1] to the same.

    Each pixel of a picture whose side is too small for them is shown several times, and its copies are averaged.
    """

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
        times = [-(-_SMALLEST // side) for side in x.shape[2:]]
        if max(times) > 1:
            x = x.repeat_interleave(times[0], dim=2).repeat_interleave(times[1], dim=3)
        found: Tensor = self.layers(x)
        rows, columns = (side - size for side, size in zip(x.shape[2:], found.shape[2:], strict=True))
        found = nn.functional.pad(found, (0, columns, 0, rows))
        return found if max(times) == 1 else nn.functional.avg_pool2d(found, times)


def detect(evidence: Evidence, epochs: int = 20) -> Detection:
    """Mean squared reconstruction error, (n,), of an autoencoder trained on the pictures themselves."""
    pictures = evidence.pictures
    tensor = torch.from_numpy(pictures if pictures.ndim == 4 else pictures[..., None]).movedim(3, 1)

    def batch(rows: np.ndarray) -> Tensor:
        return tensor[torch.from_numpy(rows)].float() / 127.5 - 1

    errors = reconstruction_errors(
        batch,
        len(pictures),
        batch,
        len(pictures),
        channels=tensor.shape[1],
        rng=generator(evidence.seed, "autoencoder"),
        epochs=epochs,
        learning_rate=0.001,
        batch_size=32,
        evaluation_batch=500,
    )
    return Detection(errors)


@kept_heap()
def reconstruction_errors(
    seen: Callable[[np.ndarray], Tensor],
    seen_count: int,
    asked: Callable[[np.ndarray], Tensor],
    asked_count: int,
    *,
    channels: int,
    rng: np.random.Generator,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    evaluation_batch: int,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Mean squared reconstruction error (n,) of the pictures ``asked`` by an autoencoder trained on those ``seen``.

    Both give some rows of ``seen_count`` or ``asked_count`` pictures as (B, C, H, W) in [−1, 1]; ``seen`` may draw from
    ``rng`` for each batch.
    """
    with global_generators_kept():
        torch.manual_seed(int(rng.integers(2**31)))
        network = Autoencoder(channels).to(device)
    adam = _Adam(list(network.parameters()), learning_rate)
    for _ in range(epochs):
        for rows in batches(rng.permutation(seen_count), batch_size):
            x = seen(rows).to(device)
            adam.step(((network(x) - x) ** 2).mean())
    errors = []
    with torch.inference_mode():
        for rows in batches(np.arange(asked_count), evaluation_batch):
            x = asked(rows).to(device)
            errors.append(((network(x) - x) ** 2).mean(dim=(1, 2, 3)).double().cpu().numpy())
    return np.concatenate(errors)


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
