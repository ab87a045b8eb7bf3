"""Rows of several sources, gathered in the form of the host's rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.corruptions import corrupt


class Sources:
    """The host dataset and its foreign sources, memory-mapped: only the rows asked for are read.

    ``features``: the ``features.npy`` of the host first, then of the foreign sources; a source is named by
    the folder of its file.
    """

    def __init__(self, features: Sequence[str | Path]) -> None:
        self._features = {
            Path(path).parent.name: files.read_npy(path, memory_mapped=True) for path in features
        }
        self.host = Path(features[0]).parent.name

    def gather(self, sources: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The given rows of the given sources, (n, …) in the host's shape and type.

        Foreign pictures are fitted to the host's size and channels, see ``fit_pictures``.  Raises
        GlitchtraceError for a source that was not opened.
        """
        host = self._features[self.host]
        gathered = np.empty((len(rows), *host.shape[1:]), dtype=host.dtype)
        for source in np.unique(sources):
            if source not in self._features:
                known = ", ".join(self._features)
                raise GlitchtraceError(
                    f"glitch.parquet names the source {source}, but the cell has {known}; make it anew"
                )
            chosen = sources == source
            found = self._features[source][rows[chosen]]
            gathered[chosen] = (
                found if found.shape[1:] == host.shape[1:] else fit_pictures(found, host.shape[1:])
            )
        return gathered

    def samples(self, table: pd.DataFrame) -> np.ndarray:
        """The samples of a sample table, (n, …): their rows, the corrupted ones as ``data.corruptions`` makes them.

        A foreign picture is fitted to the host before it is corrupted.
        """
        gathered = self.gather(table["source"].to_numpy(), table["row"].to_numpy())
        if "corruption" not in table:
            return gathered
        names, severities = table["corruption"].to_numpy(), table["severity"].to_numpy()
        for name, severity in {*zip(names, severities, strict=True)}:
            if name:
                chosen = np.flatnonzero((names == name) & (severities == severity))
                gathered[chosen] = corrupt(gathered[chosen], table["row"].to_numpy()[chosen], name, severity)
        return gathered

    def host_rows(self, rows: np.ndarray) -> np.ndarray:
        """The given rows of the host, (n, …)."""
        found: np.ndarray = self._features[self.host][rows]
        return found


def fit_pictures(pictures: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pictures uint8 (n, h, w) or (n, h, w, 3) in another ``shape``, (H, W) or (H, W, 3).

    Grey pictures are repeated into three channels; colour becomes grey by luminance, 0.299 R + 0.587 G +
    0.114 B (ITU-R BT.601).  Sizes change bilinearly, with antialiasing.  Source:
    docs/methods/glitches.md#far-anomalies.
    """
    from PIL import Image

    mode = "RGB" if len(shape) == 3 else "L"
    size = (shape[1], shape[0])
    fitted = [
        np.asarray(Image.fromarray(picture).convert(mode).resize(size, Image.Resampling.BILINEAR))
        for picture in pictures
    ]
    return np.stack(fitted)
