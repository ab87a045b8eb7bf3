"""The heap that a pass keeps."""

import resource
import sys

import pytest
import torch

from glitchtrace.core.heap import kept_heap

_PAGE = resource.getpagesize()
_VALUES = 4 * 2**20  # 16 MiB of single precision, far above what a heap gives out by itself


def _pages_of_a_layer() -> int:
    """Pages that the system cleared for two blocks that live at the same time and are given back."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    first = torch.ones(_VALUES)
    (first + 1).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="the heap is glibc's")
def test_memory_that_is_taken_again_is_not_cleared_again():
    layers, cleared = 60, 2 * 4 * _VALUES // _PAGE
    with kept_heap():
        with kept_heap():
            _pages_of_a_layer()
        pages = sum(_pages_of_a_layer() for _ in range(layers))
    assert pages < 0.25 * layers * cleared


@pytest.mark.skipif(sys.platform != "linux", reason="the heap is glibc's")
def test_at_the_end_it_goes_back():
    def resident() -> int:
        with open("/proc/self/statm", encoding="utf-8") as stream:
            return int(stream.read().split()[1]) * _PAGE

    with kept_heap():
        torch.ones(16 * _VALUES)
        inside = resident()
    assert inside - resident() > 0.9 * 64 * _VALUES


def test_an_error_inside_ends_it_too():
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), kept_heap():
            raise ValueError("inside")
    with kept_heap():
        pass
