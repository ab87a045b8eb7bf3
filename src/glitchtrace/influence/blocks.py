"""Cutting rows into blocks."""

from collections.abc import Iterator

_MIB = 2**20


def slices(start: int, stop: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` rows from ``start`` to ``stop``."""
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def rows_in(memory_mib: float, bytes_per_row: int) -> int:
    """How many rows fit into ``memory_mib`` MiB; at least one."""
    return max(1, int(memory_mib * _MIB / bytes_per_row))
