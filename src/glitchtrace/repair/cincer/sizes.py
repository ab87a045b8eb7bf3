"""How much a run takes, told from the cards before any data are read.  Standard library only."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from glitchtrace import registry
from glitchtrace.errors import GlitchtraceError

# The published share of test rows in data that are divided here.
TEST_SHARE = 0.2
# Samples beyond known and arriving ones that the outlier noise keeps of the training part.
OUTLIER_RESERVE = 50
# Beyond this a dense Hessian costs more than a minute and gigabytes.
EXACT_PARAMETERS = 5000
# Products of two inputs beyond this do not fit in memory beside their weights.
LARGEST_PRODUCTS = 20_000
# Explicit gradients beyond this are refused: they would not fit in the memory that a job declares.
LARGEST_GRADIENT_BYTES = 2_000_000_000


def part_sizes(rows: Mapping[str, int], split: str) -> tuple[int, int]:
    """Training and test rows of a dataset with ``rows`` by part, under the setting ``split`` of the loop."""
    if split == "official" and "test" in rows:
        return rows["train"], rows["test"]
    every = sum(rows.values())
    tested = math.ceil(TEST_SHARE * every)
    return every - tested, tested


def known_count(known: float, samples: int) -> int:
    """Number of known samples: ``known`` itself where it exceeds 1, else that share of the training part.

    Raises GlitchtraceError where nothing would be known, or nothing left to arrive.
    """
    count = round(known) if known > 1 else round(samples * known)
    if not 0 < count < samples:
        raise GlitchtraceError(
            f"known: {known:g} means {count} of {samples} training samples; at least one must be known and at least "
            "one left to arrive (a value up to 1 is a share, 1 meaning all of them)"
        )
    return count


def outlier_count(known: float, iterations: int, samples: int) -> int:
    """Number of training samples that a run with outlier noise keeps."""
    return min(samples, int(known + iterations + OUTLIER_RESERVE))


def weight_count(model: str, settings: Mapping[str, Any], shape: Sequence[int], classes: int) -> int:
    """Parameters of a model that the loop can fit, for samples of ``shape`` (d,) or (H, W[, channels])."""
    form, values = registry.card("model", model)["loop"]["dense"], math.prod(shape)
    if form is None:
        # The convolutional network: 32 and 64 kernels of 3 × 3 around a pooling, and a hidden layer of 64.
        rows, columns = ((side - 2) // 2 - 2 for side in shape[:2])
        channels = shape[2] if len(shape) == 3 else 1
        body = (9 * channels + 1) * 32 + (9 * 32 + 1) * 64
        return body + _dense([64 * rows * columns, 64, classes])
    if form == "products":
        values *= values
    return _dense([values, *settings.get("hidden", ()), classes])


def _dense(widths: Sequence[int]) -> int:
    return sum((before + 1) * after for before, after in pairwise(widths))


def gradient_bytes(gradients: int, weights: int, bits: int) -> int:
    """Size of explicit gradients."""
    return gradients * weights * bits // 8
