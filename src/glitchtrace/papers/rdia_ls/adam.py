"""Adam over one flat vector of parameters.

The parameters of all networks are views of one vector, so that a step is a few passes over it however many
tensors there are.  torch's own Adam imports torch's compiler when it is made, 1.5 CPU seconds of every job.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

BETA2 = 0.999
EPSILON = 1e-8


class Adam:
    """Adam (Kingma, Ba 2015) with weight decay as a part of the gradient, λ·θ, as in torch's Adam."""

    def __init__(self, modules: Iterable[nn.Module], weight_decay: float = 0.0) -> None:
        """Moves the parameters of ``modules`` that require a gradient into one vector."""
        self.parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self._values = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        first = 0
        for parameter in self.parameters:
            parameter.data = self._values[first : first + parameter.numel()].view_as(parameter)
            first += parameter.numel()
        self._mean = torch.zeros_like(self._values)
        self._square = torch.zeros_like(self._values)
        self._decay = weight_decay
        self._steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], learning_rate: float, beta1: float) -> None:
        """One step; ``gradients`` in the order of ``parameters``."""
        gradient = torch.cat([g.reshape(-1) for g in gradients])
        self._steps += 1
        if self._decay:
            gradient.add_(self._values, alpha=self._decay)
        self._mean.lerp_(gradient, 1 - beta1)
        self._square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = self._square.sqrt().div_(math.sqrt(1 - BETA2**self._steps)).add_(EPSILON)
        self._values.addcdiv_(self._mean, root, value=-learning_rate / (1 - beta1**self._steps))

    def finite(self) -> bool:
        """Whether every parameter is a number."""
        return bool(self._values.isfinite().all())
