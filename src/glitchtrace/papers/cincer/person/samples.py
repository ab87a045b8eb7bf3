"""How a sample is shown to a person: a picture, or the row of a table."""

import io
from pathlib import Path

import numpy as np

from glitchtrace.data.description import read_description

_PICTURE_PIXELS = 224
_SHADES = " .:-=+*#%@"


class Samples:
    """The stored rows of a source, given its ``features.npy`` with ``source.json`` beside."""

    def __init__(self, features: str | Path) -> None:
        self._stored = np.load(features, mmap_mode="r")
        self._description = read_description(Path(features).parent / "source.json")
        self.classes: list[str] = list(self._description["classes"])
        self.pictures = self._description["modality"] == "image"

    def png(self, row: int) -> bytes:
        """A picture enlarged to a size that a person can judge."""
        from PIL import Image

        picture = Image.fromarray(np.asarray(self._stored[row]))
        factor = max(1, _PICTURE_PIXELS // max(picture.size))
        enlarged = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        enlarged.save(buffer, format="PNG")
        return buffer.getvalue()

    def fields(self, row: int) -> list[tuple[str, str]]:
        """Columns with their values; categories by name."""
        categories = self._description.get("categories") or {}
        found = []
        for column, value in zip(self._description["columns"], self._stored[row], strict=True):
            names = categories.get(column)
            found.append((column, names[int(value)] if names else f"{value:g}"))
        return found

    def text(self, row: int) -> list[str]:
        """A sample for the terminal: a picture in shades of characters, or a column per line."""
        if not self.pictures:
            width = max(len(column) for column, _ in self.fields(row))
            return [f"{column:<{width}}  {value}" for column, value in self.fields(row)]
        picture = np.asarray(self._stored[row], dtype=float)
        if picture.ndim == 3:
            picture = picture.mean(axis=2)
        shades = (picture / 256 * len(_SHADES)).astype(int)
        # Characters are about twice as high as wide.
        return ["".join(_SHADES[shade] * 2 for shade in line) for line in shades]
