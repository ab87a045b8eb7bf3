"""Atomic writing: a reader sees the old file, the whole new file, or none."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; move it over ``target`` on success, remove it on failure."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept: seaborn, pyarrow and safetensors choose formats by it.
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(value: Any, target: str | Path) -> None:
    """Write ``value`` as sorted, indented JSON."""
    with replacing(target) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def replace_section(file: str | Path, section: str, text: str) -> None:
    """Replace what stands between the marks ``<!-- section: begin -->`` and ``<!-- section: end -->`` of a text file.

    Raises ValueError if the marks are missing.
    """
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, found, rest = Path(file).read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{file} has no section {section}")
    with replacing(file) as temporary:
        temporary.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8")


def write_npy(array: "np.ndarray", target: str | Path) -> None:
    """Write one array, readable with ``numpy.load(..., mmap_mode="r")``."""
    import numpy as np

    with replacing(target) as temporary, open(temporary, "wb") as stream:
        np.save(stream, array, allow_pickle=False)


def write_parquet(table: "pd.DataFrame", target: str | Path) -> None:
    """Write a table without its index; the same table gives the same bytes."""
    with replacing(target) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")


def write_tensors(
    tensors: "dict[str, np.ndarray]", target: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Write named arrays as safetensors."""
    import numpy as np
    from safetensors.numpy import save_file

    with replacing(target) as temporary:
        save_file(
            {name: np.asarray(array, order="C") for name, array in tensors.items()},
            temporary,
            metadata=metadata,
        )
