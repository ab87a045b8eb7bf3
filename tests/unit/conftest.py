"""What several unit tests read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

from glitchtrace.core.files import write_json, write_npy


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """``features.npy`` of iris as a source, with labels and description beside it."""
    data = load_iris()
    folder = tmp_path / "sources" / "iris"
    write_npy(data.data.astype(np.float32), folder / "features.npy")
    write_npy(data.target.astype(np.int64), folder / "labels.npy")
    write_json(
        {"modality": "table", "classes": list("abc"), "parts": {"all": [0, 150]}, "columns": list("wxyz")},
        folder / "source.json",
    )
    return folder / "features.npy"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums of one thread: their last bits do not depend on the machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
