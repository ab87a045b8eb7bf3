"""The heap that a pass keeps."""

import subprocess
import sys

import pytest
import torch

from glitchtrace.core.heap import kept_heap

_LAYERS, _BLOCK = 60, 16 * 2**20

# In a process of its own: free memory that other tests left behind would be taken first, and stays at the end.
_MEASURED = f"""
import resource
import torch
from glitchtrace.core.heap import _glibc, _resident, kept_heap

def layers(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.ones({_BLOCK} // 4)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize()

_glibc().mallopt(-3, 2**17)  # as at its start: whether it has learned to keep blocks already is chance
outside = layers({_LAYERS})
with kept_heap():
    with kept_heap():
        layers(1)
    inside = layers({_LAYERS})
    torch.ones(4 * {_BLOCK})  # 16 blocks
    held = _resident()
print(outside, inside, held - _resident())
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, int]:
    """Bytes: cleared for the layers outside and inside a kept heap, and given back at its end."""
    command = [sys.executable, "-c", _MEASURED]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(zip(("outside", "inside", "back"), map(int, printed.split()), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="the heap is glibc's")
def test_memory_that_is_taken_again_is_not_cleared_again(measured):
    assert measured["outside"] > 0.9 * _LAYERS * _BLOCK
    assert measured["inside"] < 0.25 * measured["outside"]


@pytest.mark.skipif(sys.platform != "linux", reason="the heap is glibc's")
def test_at_the_end_it_goes_back(measured):
    assert measured["back"] > 0.9 * 16 * _BLOCK


def test_an_error_inside_ends_it_too():
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), kept_heap():
            raise ValueError("inside")
    with kept_heap():
        torch.ones(1)
