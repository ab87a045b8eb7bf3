"""Picture folders as samples."""

from pathlib import Path

from glitchtrace.audit.samples import Samples
from glitchtrace.audit.settings import Settings
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.table_files import Dialect


def read_pictures(path: Path, settings: Settings, dialect: Dialect) -> Samples:
    """Samples of a picture folder."""
    raise GlitchtraceError(f"{path}: pictures are not read yet")
