"""Networks for tables from the package of their authors, in the form that the other rooms know.

Source: Gorishniy, Rubachev, Khrulkov, Babenko: Revisiting deep learning models for tabular data, NeurIPS 2021, and
its package rtdl_revisiting_models.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.network import Network


class TabularNetwork(Network):
    """A network of the package; its last linear layer, taken out of it, is the head, and all of it is trained."""

    def __init__(
        self, make: Callable[[], nn.Module], take_head: Callable[[nn.Module], nn.Linear], seed: int
    ) -> None:
        """Initial values are those of the package, drawn in its order right after seeding.

        ``take_head``: takes the last linear layer out of what ``make`` returns, and returns it.
        """
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = make()
        self.head = take_head(body)
        self.body = body
        self.train_only(["body", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Input of the last linear layer, shape (B, d), of vectors (B, columns)."""
        features: Tensor = self.body(x)
        return features


def take_linear(output: nn.Module) -> nn.Linear:
    """Take the last layer, ``linear``, out of an output block."""
    linear = output.get_submodule("linear")
    assert isinstance(linear, nn.Linear)
    output.linear = nn.Identity()
    return linear


def columns(shape: tuple[int, ...], model: str) -> int:
    """The number of columns of vectors of ``shape``.  Raises GlitchtraceError for another shape."""
    if len(shape) != 1:
        raise GlitchtraceError(f"model {model} takes vectors, not samples of shape {shape}")
    return shape[0]
