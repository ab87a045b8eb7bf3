"""The description of a source: modality, class names, parts, columns, checksums."""

import json
from pathlib import Path
from typing import Any


def read_description(path: str | Path) -> dict[str, Any]:
    """The content of a ``source.json``."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
