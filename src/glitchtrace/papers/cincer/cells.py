"""Which runs of the interactive loop exist, and how much each takes, told from the cards before any data are read.

The one place for the legality of runs.  Standard library only.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Any

from glitchtrace.core import grid, registry
from glitchtrace.core.errors import GlitchtraceError

# Question -> negotiators whose lines answer it; None shows all.  The upper bound is a line of its own.
QUESTIONS: dict[str, tuple[str, ...] | None] = {
    "q1": ("ce_removal", "no_ce", "top_fisher"),
    "q3": ("nearest", "practical_fisher", "top_fisher"),
    "signs": (
        "practical_fisher",
        "practical_fisher@contrastive",
        "top_fisher",
        "top_fisher@contrastive",
        "no_ce",
    ),
    "every": None,
}
# F1 and cleaned labels; these with the questions; all that is measured.
PANEL_SETS = ("summary", "questions", "all")


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


# Keys of a block -> wildcards of its files; repeats are counted from 0.
AXES = {
    "datasets": "dataset",
    "models": "model",
    "loops": "loop",
    "noises": "noise",
    "ratios": "ratio",
    "inspectors": "inspector",
    "thresholds": "threshold",
    "negotiators": "negotiator",
    "seeds": "seed",
}
# The same of the leave-one-out study, whose negotiators share one file.
INFLUENCE_AXES = {
    "datasets": "dataset",
    "models": "model",
    "loops": "loop",
    "noises": "noise",
    "ratios": "ratio",
    "refits": "refit",
    "seeds": "seed",
}
NO_NOISE = "clean"
# Ranges of thresholds that the cards of inspectors name.
_MEANINGS = {
    "share": "a share from 0 to 1",
    "inside the unit interval": "between 0 and 1",
    "positive": "positive",
    "above one": "above 1",
}


@dataclass(frozen=True, order=True)
class Cell:
    """One repeat of one run; the fields are the wildcards of its files."""

    dataset: str
    model: str
    loop: str
    noise: str
    ratio: str
    inspector: str
    threshold: str
    negotiator: str
    seed: int
    repeat: int

    def wildcards(self) -> dict[str, str]:
        """The keys as Snakemake wildcards."""
        names = (*AXES.values(), "repeat")
        return {name: str(value) for name, value in zip(names, astuple(self), strict=True)}


def cells(blocks: Sequence[Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]) -> tuple[Cell, ...]:
    """All cells of the blocks, sorted, each once.

    ``blocks`` and ``settings`` (kind -> name -> settings) are of a checked and resolved configuration.  Raises
    GlitchtraceError for an illegal combination.
    """
    found = set()
    for position, keys in grid.product(blocks, AXES):
        problem = illegal(keys, settings)
        if problem:
            raise GlitchtraceError(f"cincer[{position}]: {problem}")
        seed = int(keys.pop("seed"))
        found |= {Cell(**keys, seed=seed, repeat=repeat) for repeat in range(blocks[position]["repeats"])}
    return tuple(sorted(found))


def influence_cells(
    blocks: Sequence[Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, ...], list[str]]:
    """Cells of the leave-one-out study, (wildcards of ``INFLUENCE_AXES`` …, repeat) -> negotiators; both sorted.

    The blocks of one cell are joined.  Raises GlitchtraceError for an illegal combination.
    """
    found: dict[tuple[str, ...], set[str]] = {}
    for position, keys in grid.product(blocks, {**INFLUENCE_AXES, "negotiators": "negotiator"}):
        negotiator = keys.pop("negotiator")
        problem = (
            _problem(keys)
            or _estimate(keys, negotiator, settings)
            or _size(keys, settings)
            or _cost(keys, negotiator, settings, arriving=0)
        )
        if problem:
            raise GlitchtraceError(f"cincer_influence[{position}]: {problem}")
        for repeat in range(blocks[position]["repeats"]):
            found.setdefault((*keys.values(), str(repeat)), set()).add(negotiator)
    return {cell: sorted(negotiators) for cell, negotiators in sorted(found.items())}


def illegal(keys: Mapping[str, str], settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why a combination cannot exist, with the remedy; None if it is legal."""
    problem = _problem(keys) or _threshold(keys["inspector"], keys["threshold"])
    if problem:
        return problem
    silent = registry.card("negotiator", keys["negotiator"]).get("silent")
    protocol = settings["loop"][keys["loop"]]
    if protocol["precision"] and silent:
        return f"loop {keys['loop']} measures counter-examples, and {keys['negotiator']} shows none"
    if not protocol["asks"] and not silent:
        return f"loop {keys['loop']} asks nothing; write negotiators: [no_ce]"
    inspector = settings["inspector"][keys["inspector"]]
    if "signal" in inspector:
        try:
            needed = registry.card("detector", inspector["signal"])["needs"]
        except GlitchtraceError as error:
            return f"inspectors.{keys['inspector']}.signal: {error}"
        if needed != ["profile"]:
            return f"inspectors.{keys['inspector']}.signal: '{inspector['signal']}' is no influence signal; name CNCI"
    return (
        _size(keys, settings)
        or _solver("inspector", keys["inspector"], keys, settings)
        or _cost(keys, keys["negotiator"], settings, arriving=protocol["iterations"])
    )


def _problem(keys: Mapping[str, str]) -> str | None:
    """Why dataset, model and noise cannot go together."""
    dataset, model, ratio = keys["dataset"], keys["model"], keys["ratio"]
    data, network = registry.card("dataset", dataset), registry.card("model", model)
    if data.get("foreign_only"):
        return f"dataset {dataset} only serves as a source of foreign samples; choose another dataset"
    if data.get("own"):
        return f"the loop takes no {dataset}; name a dataset, or give your file to the annotator's --data"
    if "@" in dataset:
        return f"the loop has a split of its own; write {registry.base_name(dataset)}, not {dataset}"
    if "loop" not in network:
        usable = [name for name in registry.names("model") if "loop" in registry.card("model", name)]
        return f"model {model} cannot be fitted in the loop; choose one of {', '.join(usable)}"
    if data["modality"] not in network["modalities"]:
        return (
            f"model {model} takes {' and '.join(network['modalities'])} data, {dataset} is of modality "
            f"{data['modality']}; move one of them to another block"
        )
    if ratio not in (NO_NOISE,) and not re.fullmatch(r"0\.\d+", ratio):
        return (
            f"ratio {ratio} is no share of wrong labels; write a decimal fraction such as 0.2, or {NO_NOISE}"
        )
    if ratio == NO_NOISE and not registry.card("noise", keys["noise"]).get("clean"):
        return f"ratio {NO_NOISE} is defined for the noise random only, not for {keys['noise']}"
    return None


def _estimate(
    keys: Mapping[str, str], negotiator: str, settings: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """Why a negotiator's scores cannot be compared with leaving samples out."""
    card = registry.card("negotiator", negotiator)
    if card.get("silent") or card.get("unscored"):
        return f"negotiator {negotiator} gives no scores; choose another"
    if settings["negotiator"][negotiator].get("draws") == "all":
        return f"negotiator {negotiator} draws from samples that the model is not fitted to; set draws: known"
    if keys["refit"] == "optimum" and registry.base_name(keys["model"]) != "logreg":
        return f"refit optimum is that of logreg, not of {keys['model']}; write refits: [training]"
    if keys["refit"] == "training" and settings["loop"][keys["loop"]]["warm_start"]:
        return (
            f"loop {keys['loop']} trains on from the fit before, with the sample; set its warm_start to false"
        )
    return None


def _size(keys: Mapping[str, str], settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why samples cannot be divided into known and arriving ones, or be taken by the model."""
    data, protocol = registry.card("dataset", keys["dataset"]), settings["loop"][keys["loop"]]
    try:
        known_count(protocol["known"], _samples(keys, protocol))
    except GlitchtraceError as error:
        return f"loops.{keys['loop']}.{error}"
    values = math.prod(data["shape"])
    form = registry.card("model", keys["model"])["loop"]["dense"]
    if form == "products" and values * values > LARGEST_PRODUCTS:
        return (
            f"model {keys['model']} makes {values * values} products of {values} inputs of {keys['dataset']}; at most "
            f"{LARGEST_PRODUCTS} are allowed, use logreg"
        )
    return None


def _cost(
    keys: Mapping[str, str], negotiator: str, settings: Mapping[str, Mapping[str, Any]], *, arriving: int
) -> str | None:
    """Why a negotiator cannot be afforded once ``arriving`` samples have joined the known ones."""
    problem = _solver("negotiator", negotiator, keys, settings)
    dense = registry.card("model", keys["model"])["loop"]["dense"]
    if problem or dense:
        return problem
    data, protocol = registry.card("dataset", keys["dataset"]), settings["loop"][keys["loop"]]
    samples = _samples(keys, protocol)
    known = min(known_count(protocol["known"], samples) + arriving, samples)
    chosen, weights = settings["negotiator"][negotiator], _weights(keys, settings)
    gradients = largest_fisher(negotiator, chosen, known, data["classes"])
    needed = gradient_bytes(gradients, weights, protocol["bits"])
    if needed <= LARGEST_GRADIENT_BYTES:
        return None
    largest = LARGEST_GRADIENT_BYTES // gradient_bytes(data["classes"], weights, protocol["bits"])
    return (
        f"negotiator {negotiator} makes {gradients} gradients of {weights} parameters when {known} samples of "
        f"{keys['dataset']} are known, {needed / 1e9:.1f} GB; set negotiators.{negotiator}.sample to {largest} at "
        "most, or take top_fisher or practical_fisher"
    )


def _solver(
    kind: str, name: str, keys: Mapping[str, str], settings: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """Why the inverse Hessian cannot be found as the settings of an inspector or a negotiator say."""
    weights = _weights(keys, settings)
    if settings[kind][name].get("solver") != "exact" or weights <= EXACT_PARAMETERS:
        return None
    return (
        f"{kind}s.{name}.solver: exact is for at most {EXACT_PARAMETERS} parameters, {keys['model']} has "
        f"{weights} on {keys['dataset']}; write cg"
    )


def _samples(keys: Mapping[str, str], protocol: Mapping[str, Any]) -> int:
    """Number of training samples of a run."""
    rows = registry.card("dataset", keys["dataset"])["rows"]
    samples, _ = part_sizes(rows, protocol["split"])
    if registry.card("noise", keys["noise"]).get("subsample"):
        return outlier_count(protocol["known"], protocol["iterations"], samples)
    return samples


def _weights(keys: Mapping[str, str], settings: Mapping[str, Mapping[str, Any]]) -> int:
    data = registry.card("dataset", keys["dataset"])
    return weight_count(keys["model"], settings["model"][keys["model"]], data["shape"], data["classes"])


def _threshold(inspector: str, threshold: str) -> str | None:
    """Why a threshold cannot be that of an inspector."""
    if not re.fullmatch(r"\d+(\.\d+)?", threshold):
        return f"threshold {threshold} is no plain decimal number; write e.g. 0.2"
    value, meaning = float(threshold), registry.card("inspector", inspector)["threshold"]
    legal = {
        "unused": value == 0,
        "share": 0 <= value <= 1,
        "inside the unit interval": 0 < value < 1,
        "positive": value > 0,
        "above one": value > 1,
    }[meaning]
    if legal:
        return None
    if meaning == "unused":
        return f"the threshold of inspector {inspector} is unused: write thresholds: [0], not {threshold}"
    return (
        f"the threshold of inspector {inspector} must be {_MEANINGS[meaning]}, not {threshold}; give another in "
        "thresholds"
    )
