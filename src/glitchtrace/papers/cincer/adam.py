"""Adam on one flat vector of parameters, in as few passes over memory as the formula allows.

With m_t = β₁ m_{t−1} + g and v_t = β₂ v_{t−1} + g² (the factors 1 − β enter the step), the published update
(Kingma and Ba, 2015, algorithm 1) is

    θ ← θ − η (1 − β₁)/(1 − β₁ᵗ) · m_t / ( √(v_t (1 − β₂)/(1 − β₂ᵗ)) + ε ).

Kept are M_t = m_t / β₁ᵗ and S_t = v_t / β₂ᵗ: each grows by a multiple of g or g², which is a single call of BLAS
``axpy``, where decay and addition would be two passes.  Both are scaled back before they could overflow.
"""

import copy
import math

import numpy as np
from scipy.linalg.blas import get_blas_funcs

# Powers β⁻ᵗ beyond this are folded back into the moments.
_LARGEST = 1e12


class Adam:
    """The moments and the step counter of one fit."""

    def __init__(
        self, size: int, dtype: np.dtype, *, rate: float, beta1: float, beta2: float, epsilon: float
    ) -> None:
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

    def copy(self) -> "Adam":
        """An independent optimiser in the same state."""
        twin = copy.copy(self)
        twin._first, twin._second, twin._work = self._first.copy(), self._second.copy(), self._work.copy()
        return twin
