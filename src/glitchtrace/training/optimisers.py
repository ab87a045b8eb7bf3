"""Adam (Kingma and Ba, 2015, algorithm 1) over one flat vector of parameters: of a network, and of an array.

A network's parameters become views of one vector, so that a step is a few passes over it however many tensors there
are.  torch's own Adam imports torch's compiler when it is made, 1.5 CPU seconds of every job.  Arrays need no torch
at all; their form takes fewer passes and rounds differently, so that the two are not exchanged for one another in
a published study.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

BETA1, BETA2 = 0.9, 0.999
EPSILON = 1e-8
# Powers β⁻ᵗ beyond this are folded back into the moments of an array.
_LARGEST = 1e12


class Adam:
    """Adam over the parameters of networks, with weight decay as a part of the gradient, λ·θ, as in torch's Adam."""

    def __init__(self, modules: Iterable["nn.Module"], weight_decay: float = 0.0) -> None:
        """Moves the parameters of ``modules`` that require a gradient into one vector."""
        import torch

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

    def step(self, gradients: Sequence["Tensor"], learning_rate: float, beta1: float = BETA1) -> None:
        """One step; ``gradients`` in the order of ``parameters``."""
        import torch

        self._steps += 1
        with torch.no_grad():
            gradient = torch.cat([g.reshape(-1) for g in gradients])
            if self._decay:
                gradient.add_(self._values, alpha=self._decay)
            self._mean.lerp_(gradient, 1 - beta1)
            self._square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            root = self._square.sqrt().div_(math.sqrt(1 - BETA2**self._steps)).add_(EPSILON)
            self._values.addcdiv_(self._mean, root, value=-learning_rate / (1 - beta1**self._steps))

    def finite(self) -> bool:
        """Whether every parameter is a number."""
        return bool(self._values.isfinite().all())


class ArrayAdam:
    """Adam on one flat array, in as few passes over memory as the formula allows.

    With m_t = β₁ m_{t−1} + g and v_t = β₂ v_{t−1} + g² (the factors 1 − β enter the step), the published update is

        θ ← θ − η (1 − β₁)/(1 − β₁ᵗ) · m_t / ( √(v_t (1 − β₂)/(1 − β₂ᵗ)) + ε ).

    Kept are M_t = m_t / β₁ᵗ and S_t = v_t / β₂ᵗ: each grows by a multiple of g or g², which is a single call of BLAS
    ``axpy``, where decay and addition would be two passes.  Both are scaled back before they could overflow.
    """

    def __init__(
        self,
        size: int,
        dtype: np.dtype,
        *,
        rate: float,
        beta1: float = BETA1,
        beta2: float = BETA2,
        epsilon: float = EPSILON,
    ) -> None:
        from scipy.linalg.blas import get_blas_funcs

        self.rate, self.beta1, self.beta2, self.epsilon = rate, beta1, beta2, epsilon
        self.steps = 0
        self._power1 = self._power2 = 1.0
        self._first = np.zeros(size, dtype)
        self._second = np.zeros(size, dtype)
        self._work = np.empty(size, dtype)
        self._axpy = get_blas_funcs("axpy", dtype=dtype)

    def update(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        """One step in place; ``gradient`` is overwritten."""
        self.steps += 1
        self._power1 /= self.beta1
        self._power2 /= self.beta2
        first, second, work = self._first, self._second, self._work
        self._axpy(gradient, first, a=self._power1)
        np.multiply(gradient, gradient, out=gradient)
        self._axpy(gradient, second, a=self._power2)
        np.sqrt(second, out=work)
        # √(S β₂ᵗ s) + ε = r (√S + ε / r) with r = √(β₂ᵗ s): the factor r goes into the step.
        root = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.steps) / self._power2)
        work += self.epsilon / root
        np.divide(first, work, out=work)
        step = self.rate * (1 - self.beta1) / (1 - self.beta1**self.steps) / (self._power1 * root)
        self._axpy(work, parameters, a=-step)
        if self._power1 > _LARGEST:
            first /= self._power1
            self._power1 = 1.0
        if self._power2 > _LARGEST:
            second /= self._power2
            self._power2 = 1.0

    def copy(self) -> "ArrayAdam":
        """An independent optimiser in the same state."""
        twin = copy.copy(self)
        twin._first, twin._second, twin._work = self._first.copy(), self._second.copy(), self._work.copy()
        return twin
