"""Pictures of samples, for figures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from glitchtrace.data.sources import Sources


def pictures(table: pd.DataFrame, features: Sequence[str | Path]) -> np.ndarray:
    """The pictures of samples as models see them before scaling: uint8 (n, H, W) or (n, H, W, 3).

    ``table``: rows of a sample table; ``features``: the ``features.npy`` of the host
    first, then of foreign sources.
    """
    return Sources(features).samples(table)
