"""Convolution and max pooling of pictures in a form that the CPU kernels handle well, with their derivatives.

Both are torch's own kernels, always in channels_last.  What torch makes of them under forward-mode
differentiation costs more than it must: it convolves with tangents that are zero, and it gathers the tangent
of a pooling in another layout, after which every kernel has to reorder its inputs.  Here the tangents are
written out: with * the convolution and ' the tangent, (x * w)' = x' * w + x * w', and likewise of the two
products that make up the gradient.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Inside `tangents_of_gradients`: gradients of weights keep their tangents alone.
_TANGENTS_ONLY = ContextVar("tangents_only", default=False)


def convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """The output of ``layer`` for pictures (B, C, H, W), in channels_last.

    Of a single channel, the kernel's columns become channels: as many shifted copies of the picture, then a
    convolution with a kernel of one column.  The sums are the same but for their order; the gradient of the
    weights takes a seventh of the time (oneDNN has no fast kernel for one channel).  Stride 1, one group, and
    zero padding alike on all sides are expected.
    """
    rows, columns = (int(side) for side in layer.padding)
    weight, padding = layer.weight, (rows, columns)
    if x.shape[1] == 1:
        if rows or columns:
            x = functional.pad(x, (columns, columns, rows, rows))
        x = x[:, 0].unfold(2, layer.kernel_size[1], 1).permute(0, 3, 1, 2)
        # torch's kernel for small inputs takes only kernels that are stored in the order of their axes.
        weight, padding = weight[:, 0].transpose(1, 2).unsqueeze(3).contiguous(), (0, 0)
    found: Tensor = _Convolution.apply(_last(x), weight, layer.bias, padding)
    return found


def max_pool(x: Tensor, size: int) -> Tensor:
    """The largest values of ``x`` (B, C, H, W) in squares of ``size`` pixels that do not overlap, in channels_last.

    Rows and columns beyond the last whole square are left out; of equal values the first counts.
    """
    found: Tensor = _MaxPool.apply(x, size)[0]
    return found


@contextmanager
def tangents_of_gradients() -> Iterator[None]:
    """Gradients of convolutions' weights, of outputs made in this context, have no values but their tangents.

    For a product with the Hessian, the tangent of the gradient, whose value is not asked for: a tenth of the
    time.  Outside of forward-mode differentiation such a gradient is zero.
    """
    token = _TANGENTS_ONLY.set(True)
    try:
        yield
    finally:
        _TANGENTS_ONLY.reset(token)


class _Convolution(torch.autograd.Function):
    """Of ``x`` (B, C, H, W), ``weight`` (D, C, h, w), ``bias`` (D,) or None, and (rows, columns) of padding."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        return functional.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.padding = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)
        ctx.set_materialize_grads(False)
        # Read here, since the gradient of a GPU is computed in a thread of its own.
        ctx.tangents_only = _TANGENTS_ONLY.get()

    @staticmethod
    def jvp(ctx: Any, x: Tensor | None, weight: Tensor | None, bias: Tensor | None, _: None) -> Tensor | None:
        at_x, at_weight = ctx.saved_tensors
        parts = []
        if weight is not None:
            parts.append(functional.conv2d(at_x, weight, bias, padding=ctx.padding))
        if x is not None:
            parts.append(functional.conv2d(_last(x), at_weight, padding=ctx.padding))
        return sum(parts[1:], parts[0]) if parts else None

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        found = _Gradients.apply(
            gradient, x, weight, ctx.padding, tuple(ctx.needs_input_grad[:3]), ctx.tangents_only
        )
        return (*found, None)


class _Gradients(torch.autograd.Function):
    """Gradients of input, weight and bias of a convolution, those that are ``wanted``, from that of its output."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        gradient: Tensor,
        x: Tensor,
        weight: Tensor,
        padding: tuple[int, int],
        wanted: tuple[bool, bool, bool],
        tangents_only: bool,
    ) -> tuple[Tensor | None, ...]:
        if not tangents_only:
            return _gradients(gradient, x, weight, padding, wanted)
        of_x = _gradients(gradient, x, weight, padding, (True, False, False))[0] if wanted[0] else None
        of_weight = torch.zeros_like(weight) if wanted[1] else None
        return of_x, of_weight, weight.new_zeros(len(weight)) if wanted[2] else None

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        gradient, x, weight, ctx.padding, ctx.wanted, _ = inputs
        ctx.save_for_backward(gradient, x, weight)
        ctx.save_for_forward(gradient, x, weight)
        ctx.set_materialize_grads(False)

    @staticmethod
    def jvp(
        ctx: Any, gradient: Tensor | None, x: Tensor | None, weight: Tensor | None, *_: None
    ) -> tuple[Tensor | None, ...]:
        at_gradient, at_x, at_weight = ctx.saved_tensors
        of_x, of_weight, _ = ctx.wanted
        terms = []
        if gradient is not None:
            terms.append(_gradients(gradient, at_x, at_weight, ctx.padding, ctx.wanted))
        if x is not None and of_weight:
            terms.append(_gradients(at_gradient, x, at_weight, ctx.padding, (False, True, False)))
        if weight is not None and of_x:
            terms.append(_gradients(at_gradient, at_x, weight, ctx.padding, (True, False, False)))
        return tuple(_total(parts) for parts in zip(*terms, strict=True)) if terms else (None, None, None)

    @staticmethod
    def backward(
        ctx: Any, x: Tensor | None, weight: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        at_gradient, at_x, at_weight = ctx.saved_tensors
        found = torch.ops.aten._convolution_double_backward(
            x, weight, bias, at_gradient, at_weight, at_x, *_form(ctx.padding), [True, True, True]
        )
        wanted = ctx.needs_input_grad[:3]
        return *(part if asked else None for part, asked in zip(found, wanted, strict=True)), None, None, None


class _MaxPool(torch.autograd.Function):
    """Largest values and their places, from pictures and the side of the squares."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, size: int) -> tuple[Tensor, Tensor]:
        return functional.max_pool2d(_last(x), size, return_indices=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, ctx.size = inputs
        ctx.save_for_backward(x, output[1])
        ctx.save_for_forward(output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def jvp(ctx: Any, x: Tensor, _: None) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        batch, channels, rows, columns = x.shape
        # Places count the pixels of one channel; in channels_last its pixels lie `channels` values apart.
        flat = places.permute(0, 2, 3, 1) * channels
        flat += torch.arange(channels, device=x.device)
        flat += (torch.arange(batch, device=x.device) * (rows * columns * channels))[:, None, None, None]
        chosen = x.permute(0, 2, 3, 1).reshape(-1).index_select(0, flat.reshape(-1))
        return chosen.view(flat.shape).permute(0, 3, 1, 2), None

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor, None]:
        x, places = ctx.saved_tensors
        squares = [ctx.size, ctx.size]
        return torch.ops.aten.max_pool2d_with_indices_backward(
            _last(gradient), _last(x), squares, squares, [0, 0], [1, 1], False, places
        ), None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int], wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        _last(gradient), _last(x), weight, [len(weight)], *_form(padding), list(wanted)
    )
    return found


def _form(padding: tuple[int, int]) -> tuple[Any, ...]:
    """Stride, padding, dilation, whether transposed, padding of the output, groups."""
    return [1, 1], list(padding), [1, 1], False, [0, 0], 1


def _total(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return sum(present[1:], present[0]) if present else None


def _last(x: Tensor) -> Tensor:
    """``x`` in channels_last, written so that ``vmap`` takes it, which knows no memory formats."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
