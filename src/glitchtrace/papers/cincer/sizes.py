"""How much a run takes, told from the cards before any data are read.  Standard library only."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError

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


def largest_fisher(negotiator: str, settings: Mapping[str, Any], known: int, classes: int) -> int:
    """Gradients of all weights that a negotiator makes at once for its Fisher matrix, of ``known`` samples."""
    if not registry.card("negotiator", negotiator).get("whole_fisher"):
        return 0
    return min(settings["sample"] or known, known) * classes


def loop_memory(
    *,
    dataset: str,
    model: str,
    model_settings: Mapping[str, Any],
    protocol: Mapping[str, Any],
    noise: str,
    negotiators: Mapping[str, Mapping[str, Any]],
) -> int:
    """MiB of one repeat: packages, the inputs of both parts, and what the model holds beside them.

    ``negotiators``: name -> settings of those that run.  The constants are measured on MNIST, CIFAR-10 and tables,
    with 32 and 64 bits; of the convolutional network under a noise that trains on all samples they are reckoned.
    """
    data, form = registry.card("dataset", dataset), registry.card("model", model)["loop"]["dense"]
    train, test = part_sizes(data["rows"], protocol["split"])
    values, width = math.prod(data["shape"]), protocol["bits"] // 8
    if data["modality"] == "image":
        # Beside the numbers the stored pictures of one part.
        needed: float = (train + test) * values * width + train * values
    else:
        needed = 2 * (train + test) * values * 8
    if registry.card("noise", noise).get("trains"):
        # In training a dense model has its samples twice, the convolutional one as patches of 3 × 3 beside them.
        needed += (2 if form else 10) * train * values * width
    if form is None:
        rows, columns = (side - 2 for side in data["shape"][:2])
        needed += 2.7 * protocol["prediction_batch"] * 32 * rows * columns * width
        weights = weight_count(model, model_settings, data["shape"], data["classes"])
        known = min(known_count(protocol["known"], train) + protocol["iterations"], train)
        gradients = max(
            (largest_fisher(name, chosen, known, data["classes"]) for name, chosen in negotiators.items()),
            default=0,
        )
        # Blocks and the whole that is made of them.
        needed += 2 * gradient_bytes(gradients, weights, protocol["bits"])
    return (300 if form else 950) + int(needed / 2**20)
