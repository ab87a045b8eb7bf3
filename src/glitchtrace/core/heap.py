"""Memory that a pass gives back and takes again at once stays with the process."""

import ctypes
import functools
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

# Numbers of glibc's settings (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# Blocks up to the first come from the heap, and as much free memory stays at its end; glibc before 2.35 takes no more
# than the second for blocks.  The others are what it sets by itself once large blocks have been freed.
_KEPT, _MOST = 2**30, 2**25
_USUAL = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}

_lock = Lock()
_inside = 0
_at_first = 0


@contextmanager
def kept_heap(*, threads: bool = False) -> Iterator[None]:
    """Within it the heap keeps what is freed (glibc; elsewhere nothing happens); it may be entered again inside.

    Otherwise the memory of each layer goes back to the system, which clears every page of it anew: up to a fifth of
    the CPU seconds of a network's passes.  At the end what is free goes back, where the process has grown by more
    than 64 MiB.  ``threads``: those that are started from now on have the heap in common, which cannot be undone.
    """
    global _inside, _at_first
    library = _glibc()
    if library is None:
        yield
        return
    if threads:
        library.mallopt(_ARENA_MAX, 1)
    with _lock:
        _inside += 1
        if _inside == 1:
            _at_first = _resident()
            library.mallopt(_MMAP_THRESHOLD, _KEPT) or library.mallopt(_MMAP_THRESHOLD, _MOST)
            library.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                for setting, value in _USUAL.items():
                    library.mallopt(setting, value)
                # Not always: it goes over the whole heap, 20 ms in a process that has many small holes.
                if _resident() > _at_first + _USUAL[_TRIM_THRESHOLD]:
                    library.malloc_trim(0)


def _resident() -> int:
    """Bytes of memory that the process holds."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * resource.getpagesize()


@functools.cache
def _glibc() -> Any:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
