"""The kinds of training sample, one enumeration for the whole project."""

from enum import IntEnum


class Kind(IntEnum):
    """What a training sample is; stored as int8, printed by its lower-case name."""

    CLEAN = 0
    MISLABELLED = 1
    ANOMALOUS = 2
    CORRUPTED = 3
    NEAR_DUPLICATE = 4

    @property
    def label(self) -> str:
        """The kind's name in tables and figures."""
        return self.name.lower()
