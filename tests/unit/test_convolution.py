"""Convolution and pooling with derivatives of their own, against those of torch."""

import pytest
import torch
import torch.autograd.forward_ad as forward_mode
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from glitchtrace.models.convolution import convolve, max_pool, tangents_of_gradients

# The first dual tensor of a process imports what torch still compiles by its own deprecated compiler.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")

FORMS = pytest.mark.parametrize(
    ("channels", "padding", "bias"), [(1, 0, True), (1, 1, True), (3, 1, True), (3, 0, False)]
)


class Net(nn.Module):
    """Convolution, pooling and a smooth loss, by the functions of the project or those of torch."""

    def __init__(self, channels: int, padding: int, bias: bool, *, own: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.own = own
        self.layer = nn.Conv2d(channels, 4, 3, padding=padding, bias=bias).double()

    def forward(self, x: Tensor) -> Tensor:
        if self.own:
            return max_pool(convolve(self.layer, x), 2).square().tanh().flatten(1).sum(dim=1)
        return max_pool2d(self.layer(x), 2).square().tanh().flatten(1).sum(dim=1)


def both(channels: int, padding: int, bias: bool) -> tuple[Net, Net]:
    return Net(channels, padding, bias, own=True), Net(channels, padding, bias, own=False)


def pictures(channels: int, batch: int = 4) -> Tensor:
    return torch.randn(batch, channels, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def dual_gradient(net: Net, x: Tensor, direction: list[Tensor], x_direction: Tensor) -> list[Tensor]:
    """Tangents of loss and gradient along a direction of parameters and pictures, and the gradient itself."""
    with forward_mode.dual_level():
        moving = {
            name: forward_mode.make_dual(p.detach().requires_grad_(), u)
            for (name, p), u in zip(net.named_parameters(), direction, strict=True)
        }
        picture = forward_mode.make_dual(x.clone().requires_grad_(), x_direction)
        loss = torch.func.functional_call(net, moving, (picture,))
        gradient = torch.autograd.grad(loss.mean(), [*moving.values(), picture])
        duals = [forward_mode.unpack_dual(part) for part in (loss, *gradient)]
        return [dual.tangent for dual in duals] + [dual.primal.detach() for dual in duals]


@FORMS
@pytest.mark.parametrize("batch", [1, 4])
def test_values_and_gradients_are_those_of_torch(channels: int, padding: int, bias: bool, batch: int) -> None:
    x = pictures(channels, batch).requires_grad_()
    found = []
    for net in both(channels, padding, bias):
        loss = net(x)
        found.append([loss, *torch.autograd.grad(loss.sum(), [*net.parameters(), x])])
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected)


@FORMS
def test_tangents_of_loss_and_gradient_are_those_of_torch(channels: int, padding: int, bias: bool) -> None:
    x, x_direction = pictures(channels), pictures(channels).roll(1)
    own, stock = both(channels, padding, bias)
    direction = [torch.randn_like(p) for p in own.parameters()]
    for mine, expected in zip(
        dual_gradient(own, x, direction, x_direction),
        dual_gradient(stock, x, direction, x_direction),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected)


@FORMS
def test_gradients_may_have_tangents_alone(channels: int, padding: int, bias: bool) -> None:
    x, own = pictures(channels), Net(channels, padding, bias, own=True)
    direction, still = [torch.randn_like(p) for p in own.parameters()], torch.zeros_like(x)
    with tangents_of_gradients():
        found = dual_gradient(own, x, direction, still)
    expected = dual_gradient(own, x, direction, still)
    tangents = len(direction) + 2
    for mine, other in zip(found[:tangents], expected[:tangents], strict=True):
        torch.testing.assert_close(mine, other)
    for of_parameter in found[tangents + 1 : -1]:
        assert not of_parameter.any(), "the values are left out"
    torch.testing.assert_close(found[-1], expected[-1])


@FORMS
def test_the_gradient_of_a_gradient_is_that_of_torch(channels: int, padding: int, bias: bool) -> None:
    x = pictures(channels).requires_grad_()
    found = []
    for net in both(channels, padding, bias):
        slope = torch.autograd.grad(net(x).sum(), [*net.parameters(), x], create_graph=True)
        inner = sum((part * torch.linspace(-1, 1, part.numel()).view_as(part)).sum() for part in slope)
        found.append(torch.autograd.grad(inner, [*net.parameters(), x]))
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected)


def test_equal_values_and_an_odd_border_are_pooled_as_torch_does() -> None:
    x = torch.randint(0, 3, (2, 3, 7, 5)).double().requires_grad_()
    weights = torch.randn(2, 3, 3, 2, dtype=torch.float64)
    mine, expected = ((f(x, 2) * weights).sum() for f in (max_pool, max_pool2d))
    torch.testing.assert_close(mine, expected)
    torch.testing.assert_close(torch.autograd.grad(mine, x)[0], torch.autograd.grad(expected, x)[0])
