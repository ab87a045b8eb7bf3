"""Forward and backward passes of the convolutional network of the house, written out for small batches on a CPU.

On MNIST as published an arriving sample takes 4.6 CPU seconds, by automatic differentiation 10.9 (one thread).

The same arithmetic as PyTorch's automatic differentiation, in an order that its general kernels do not take:

* The first convolution sees the pictures themselves, which never change.  Their patches are laid out once, so that
  it is one matrix product, and its pictures need no gradient.
* The patches of a picture stand in four groups by their place in the 2 × 2 window of the pooling.  The maximum over
  the groups then is three passes over whole arrays.  Adding the bias and rectifying come after it: both commute with
  a maximum, and a quarter of the values is left.
* Pooling backward: the first of the largest values in a window gets the gradient, as in PyTorch.
* Values stand with channels last, as the kernels of the second convolution want them and the hidden layer takes them,
  so that none is copied from one order to another.

Groups are numbered (0, 0), (0, 1), (1, 0), (1, 1); a window at the border that is not whole is left out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glitchtrace.models.convnets import Convolutional
from glitchtrace.models.network import Network

_GROUPS = 4
_KERNEL = 3
# The smallest positive number in 32 bits.
_SMALLEST = 2.0**-149
# Pictures per pass: more would leave the cache.
_BLOCK = 32


class ConvolutionalPasses:
    """Passes of one network, with its own parameters; see ``torch_classifier.Passes``."""

    def __init__(self, network: Network) -> None:
        assert isinstance(network, Convolutional)
        self.network = network
        first, second = network.body[0], network.body[3]
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.Conv2d)
        self._first, self._second = first, second
        self._sides = (0, 0)
        self._space: _Buffers | None = None

    def prepare(self, pictures: Tensor) -> Tensor:
        """Patches (n, 4, r·c, C·9) of pictures (n, C, H, W), r and c being the sides after the pooling."""
        count, channels = pictures.shape[:2]
        rows, columns = ((side - _KERNEL + 1) // 2 for side in pictures.shape[2:])
        patches = pictures.unfold(2, _KERNEL, 1).unfold(3, _KERNEL, 1)[:, :, : 2 * rows, : 2 * columns]
        windows = patches.reshape(count, channels, rows, 2, columns, 2, _KERNEL, _KERNEL)
        # They cannot be told from the number of patches, so they are kept.
        self._sides = (rows, columns)
        return windows.permute(0, 3, 5, 2, 4, 1, 6, 7).reshape(count, _GROUPS, rows * columns, -1)

    @torch.no_grad()
    def logits(self, pictures: Tensor) -> Tensor:
        """Outputs (n, K) for pictures (n, C, H, W), without dropout."""
        network, kernel = self.network, self._first.weight.to(memory_format=torch.channels_last)
        outputs = []
        for block in torch.split(pictures.to(memory_format=torch.channels_last), _BLOCK):
            pooled = nn.functional.max_pool2d(
                nn.functional.conv2d(block, kernel, self._first.bias), 2
            ).relu_()
            outputs.append(_flat(self._convolve_again(pooled)))
        found: Tensor = network.head(network.activation(network.hidden(torch.cat(outputs))))
        return found

    @torch.no_grad()
    def backward(self, patches: Tensor, targets: Tensor) -> None:
        """Set the gradients of all parameters to those of the mean cross-entropy, with dropout.

        ``patches``: prepared pictures (n, …); ``targets``: their labels (n,).
        """
        network = self.network
        buffers, values = self._convolve(patches)
        flat = _flat(values)
        before = network.hidden(flat).relu_()
        share = 1 - network.dropout.p
        kept = torch.empty_like(before).bernoulli_(share).div_(share)
        hidden = before * kept
        error = network.head(hidden).softmax(dim=1)
        error.scatter_add_(1, targets[:, None], error.new_full((len(targets), 1), -1))
        error /= len(targets)
        _set(network.head.weight, error.t() @ hidden)
        _set(network.head.bias, error.sum(dim=0))
        error = (error @ network.head.weight) * kept * (before > 0)
        _set(network.hidden.weight, error.t() @ flat)
        _set(network.hidden.bias, error.sum(dim=0))
        torch.mm(error, network.hidden.weight, out=_flat(buffers.outer))
        outer = buffers.outer
        torch.ops.aten.threshold_backward.grad_input(outer, values, 0, grad_input=outer)
        inner, weight, bias = torch.ops.aten.convolution_backward(
            outer,
            buffers.pictures,
            self._second.weight,
            [len(self._second.weight)],
            [1, 1],
            [0, 0],
            [1, 1],
            False,
            [0, 0],
            1,
            [True, True, True],
        )
        _set(self._second.weight, weight)
        _set(self._second.bias, bias)
        self._unpool(patches, buffers, inner.permute(0, 2, 3, 1).reshape(buffers.pooled.shape))

    def _convolve(self, patches: Tensor) -> tuple["_Buffers", Tensor]:
        """From patches to the rectified outputs of the second convolution, (n, 64, r − 2, c − 2)."""
        count, kernel, bias = len(patches), self._first.weight.flatten(1), self._first.bias
        assert bias is not None
        if self._space is None or len(self._space.values) < count:
            self._space = _Buffers.of(patches, self._sides, self._first, self._second)
        buffers = self._space.head(count)
        torch.mm(patches.view(-1, kernel.shape[1]), kernel.t(), out=buffers.values.view(-1, len(kernel)))
        first, second, third, fourth = buffers.values.unbind(dim=1)
        largest = torch.maximum(first, second, out=buffers.largest)
        torch.maximum(largest, third, out=largest)
        torch.maximum(largest, fourth, out=largest)
        torch.add(largest, bias, out=buffers.pooled).relu_()
        return buffers, self._convolve_again(buffers.pictures)

    def _convolve_again(self, pooled: Tensor) -> Tensor:
        """Rectified outputs of the second convolution."""
        return nn.functional.conv2d(pooled, self._second.weight, self._second.bias).relu_()

    def _unpool(self, patches: Tensor, buffers: "_Buffers", error: Tensor) -> None:
        """Gradients of the first convolution from those of the pooled values (n, r·c, channels)."""
        torch.ops.aten.threshold_backward.grad_input(error, buffers.pooled, 0, grad_input=error)
        _set(self._first.bias, error.sum(dim=(0, 1)))
        # Each group takes what its value being the largest entitles it to, and what it takes is gone for the next.
        first, second, third, last = buffers.values.unbind(dim=1)
        for values, rest in ((first, error), (second, error), (third, last)):
            # Differences are at most 0, and 0 where the value is the largest.
            torch.sub(values, buffers.largest, out=values)
            torch.ops.aten.threshold_backward.grad_input(error, values, -_SMALLEST, grad_input=values)
            torch.sub(error, values, out=rest)
        # In this order the product is several times faster than its transpose.
        kernels = patches.view(-1, patches.shape[-1]).t() @ buffers.values.view(-1, error.shape[-1])
        _set(self._first.weight, kernels.t().reshape(self._first.weight.shape))


@dataclass
class _Buffers:
    """Arrays for one number of pictures; ``pictures`` and ``pooled`` are the same values.

    Shapes: values of the first convolution (n, 4, r·c, 32), largest and pooled (n, r·c, 32), pictures (n, 32, r, c),
    gradient of the outputs of the second (n, 64, r − 2, c − 2), both with channels last.
    """

    values: Tensor
    largest: Tensor
    pooled: Tensor
    pictures: Tensor
    outer: Tensor

    @classmethod
    def of(cls, patches: Tensor, sides: tuple[int, int], first: nn.Conv2d, second: nn.Conv2d) -> "_Buffers":
        """Arrays for as many pictures as there are patches of."""
        count, groups, places, _ = patches.shape
        values = patches.new_empty(count, groups, places, first.out_channels)
        largest, pooled = (torch.empty_like(values[:, 0]) for _ in range(2))
        pictures = pooled.view(count, *sides, first.out_channels).permute(0, 3, 1, 2)
        outer = patches.new_empty(count, sides[0] - 2, sides[1] - 2, second.out_channels).permute(0, 3, 1, 2)
        return cls(values, largest, pooled, pictures, outer)

    def head(self, count: int) -> "_Buffers":
        """The same memory for the given number of pictures, at most as many as it was made for."""
        return _Buffers(*(array[:count] for array in vars(self).values()))


def _flat(values: Tensor) -> Tensor:
    """Values (n, channels, r, c) that stand with channels last as rows (n, r·c·channels), the same memory."""
    return values.permute(0, 2, 3, 1).view(len(values), -1)


def _set(parameter: Tensor | None, gradient: Tensor) -> None:
    """Fused Adam reads parameter and gradient in storage order, so that both must be laid out alike."""
    assert parameter is not None
    parameter.grad = gradient.contiguous()
