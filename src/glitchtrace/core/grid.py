"""Which cells exist: the one place for legality.

A grid is a list of blocks; each block is the product of its axes, and every combination in it must be legal.
An illegal combination is refused before any job starts, with the block's position and the remedy.
"""

import itertools
import math
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from glitchtrace.core import paths, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion

AXES = {
    "datasets": "dataset",
    "models": "model",
    "glitches": "glitch",
    "ratios": "ratio",
    "seeds": "seed",
    "estimators": "estimator",
}
# What identifies a cell but for its seed: tables and figures take means over seeds.
CELL_KEYS = [key for key in AXES.values() if key != "seed"]
# What stands for a ratio where the card of a glitch says so (``ratio``): no glitch, or one that fixes its own.
FIXED_RATIOS = ("clean", "native")
# What the cards of models (``trained``) say that is trained, and those of estimators that they cover.
_TRAINED = {"head": "the head alone", "dense": "dense layers", "other": "layers that are not dense"}


@dataclass(frozen=True, order=True)
class Cell:
    """One cell of the grid; the fields are the wildcards of its files."""

    dataset: str
    model: str
    glitch: str
    ratio: str
    seed: int
    estimator: str

    def wildcards(self) -> dict[str, str]:
        """The cell's keys as Snakemake wildcards."""
        return {axis: str(value) for axis, value in zip(AXES.values(), astuple(self), strict=True)}


def cells(grid: Sequence[Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]) -> tuple[Cell, ...]:
    """All cells of a grid, sorted, each once.

    ``grid`` and ``settings`` (kind -> name -> settings) are of a checked and resolved configuration.  Raises
    GlitchtraceError for an illegal combination.
    """
    found: set[Cell] = set()
    for position, keys in product(grid, AXES):
        dataset, model, glitch, ratio, seed, estimator = keys.values()
        problem = (
            illegal(dataset, model, glitch, ratio, settings)
            or without_validation(dataset, settings)
            or unmeasured(dataset, model, estimator, settings)
        )
        if problem:
            raise GlitchtraceError(f"grid[{position}]: {problem}")
        found.add(Cell(dataset, model, glitch, ratio, int(seed), estimator))
    return tuple(sorted(found))


def product(
    blocks: Sequence[Mapping[str, Any]], axes: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Every combination of every block: the block's position and wildcard -> value, as written.

    ``axes`` maps the keys of a block to the wildcards of its files.
    """
    for position, block in enumerate(blocks):
        values = [[str(value) for value in block[axis]] for axis in axes]
        for combination in itertools.product(*values):
            yield position, dict(zip(axes.values(), combination, strict=True))


def legal_cells(
    name: str,
    blocks: Sequence[Mapping[str, Any]],
    axes: Mapping[str, str],
    problem: Callable[[Mapping[str, str]], str | None],
) -> list[dict[str, str]]:
    """All combinations of a system's blocks as wildcards, sorted, each once.

    ``name`` is the key of the blocks; ``problem`` says why a combination cannot exist.  Raises GlitchtraceError
    for the first that cannot.
    """
    found = set()
    for position, keys in product(blocks, axes):
        reason = problem(keys)
        if reason:
            raise GlitchtraceError(f"{name}[{position}]: {reason}")
        found.add(tuple(keys.values()))
    return [dict(zip(axes.values(), values, strict=True)) for values in sorted(found)]


def check_ratios(ratios: Iterable[object]) -> None:
    """Raise GlitchtraceError where a ratio is not a number in (0, 1), clean or native, or is written in two ways."""
    written: dict[float, str] = {}
    for ratio in ratios:
        token = str(ratio)
        if token in FIXED_RATIOS:
            continue
        if isinstance(ratio, float) and 0 < ratio < 1e-4:
            # Python writes it with an exponent, and so would the names of folders.
            raise GlitchtraceError(f"ratios: write {token} in quotes and in full, '{Decimal(token):f}'")
        if not re.fullmatch(r"0\.\d+", token) or float(token) == 0:
            raise GlitchtraceError(
                f"ratios: {token} is not a ratio; write a decimal fraction between 0 and 1 such as 0.1, "
                "or 'clean' (glitch none) or 'native' (a mixture, human labels)"
            )
        first = written.setdefault(float(token), token)
        if first != token:
            raise GlitchtraceError(
                f"ratios: {first} and {token} are the same ratio; write {first} everywhere"
            )


def illegal(
    dataset: str, model: str, glitch: str, ratio: str, settings: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """Why a combination cannot exist, with the remedy; None if it is legal."""
    data, network = registry.card("dataset", dataset), registry.card("model", model)
    if data["modality"] not in network["modalities"] and not data.get("foreign_only"):
        return _mismatch("model", model, network, dataset, data)
    return illegal_data(dataset, glitch, ratio, settings)


def illegal_data(
    dataset: str, glitch: str, ratio: str, settings: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """Why a dataset cannot have a glitch at a ratio, with the remedy; None if it can.

    Raises GlitchtraceError, naming the key, where the dataset has too few rows for its settings.
    """
    data, kind = registry.card("dataset", dataset), registry.card("glitch", glitch)
    if data.get("foreign_only"):
        return f"dataset {dataset} only serves as a source of foreign samples; choose another dataset"
    problem = without_file(dataset, settings) or without_part(dataset, settings)
    if problem:
        return problem
    if dataset in settings.get("dataset", {}) and (data.get("own") or data["rows"]):
        sizes(dataset, settings["dataset"][dataset])
    if data["modality"] not in kind["modalities"]:
        return _mismatch("glitch", glitch, kind, dataset, data)
    hosts = kind.get("datasets")
    if hosts and registry.base_name(dataset) not in hosts:
        return f"glitch {glitch} is made for {', '.join(hosts)}, not for {dataset}; move it to another block"
    expected = kind.get("ratio")
    if expected and ratio != expected:
        return f"glitch {glitch} has no ratio of its own: write ratios: [{expected}], not {ratio}"
    if not expected and ratio in FIXED_RATIOS:
        return f"glitch {glitch} needs a ratio such as 0.1, not {ratio}"
    chosen = settings.get("glitch", {}).get(glitch, {})
    problem = _other_classes(glitch, glitch, chosen, dataset)
    if problem:
        return problem
    if "steps" in chosen and not chosen["steps"]:
        return f"glitch {glitch} has no steps; set glitches.{glitch}.steps, or use a recipe such as mixture@mu_ua"
    for step in chosen.get("steps") or ():
        name = step["glitch"]
        step_card = registry.card("glitch", name)
        if step_card.get("ratio") or step_card.get("reads_rows"):
            return f"glitches.{glitch}.steps: {name} cannot be a step of a mixture"
        problem = illegal_data(dataset, name, str(step["ratio"]), settings)
        if problem:
            return f"glitches.{glitch}.steps: {problem}"
        problem = _other_classes(f"{glitch}.steps", name, step, dataset)
        if problem:
            return problem
    for foreign in foreign_sources(dataset, glitch, chosen):
        if foreign is None:
            return f"glitch {glitch} has no foreign dataset for {dataset}; set glitches.{glitch}.foreign"
        if foreign == registry.base_name(dataset):
            return f"glitch {glitch} would take {dataset} as its own foreign dataset; set glitches.{glitch}.foreign"
        if registry.card("dataset", foreign).get("own"):
            return f"glitches.{glitch}.foreign: {foreign} is data of your own, which cannot be foreign; name another"
        if registry.card("dataset", foreign)["modality"] != data["modality"]:
            return f"glitches.{glitch}.foreign: {foreign} and {dataset} are not of one modality"
    return None


def _other_classes(place: str, glitch: str, chosen: Mapping[str, Any], dataset: str) -> str | None:
    """Why settings of a glitch that count classes (``per_class``) do not fit the dataset; None where they do."""
    classes = registry.card("dataset", dataset)["classes"]
    known = registry.settings("glitch", glitch)
    for key, value in chosen.items():
        if not classes or not known.get(key, {}).get("per_class"):
            continue
        if isinstance(value, list) and any(len(row) != classes for row in [value, *value]):
            return f"glitches.{place}.{key}: {dataset} has {classes} classes; write {classes} rows of {classes} numbers"
        if isinstance(value, int) and value > classes:
            return f"glitches.{place}.{key}: {value} is above the {classes} classes of {dataset}; write 'all' or fewer"
    return None


def unmeasured(
    dataset: str, model: str, estimator: str, settings: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """Why an estimator has no influence for a training of a model on a dataset, with the remedy; None where it has."""
    chosen = settings.get("estimator", {}).get(estimator, {})
    epochs = training_settings(settings["model"][model], dataset)["epochs"]
    later = [epoch for epoch in chosen.get("epochs") or () if epoch > epochs]
    if later:
        return (
            f"estimator {estimator} counts epoch {later[0]}, but {model} is trained for {epochs} on {dataset}; set "
            f"estimators.{estimator}.epochs to some of 1 to {epochs}, or the epochs in models.{model}.training"
        )
    covered, own = registry.card("estimator", estimator).get("trained"), _trained(model, settings)
    if covered and own and own not in covered and chosen.get("layers") != "head":
        remedy = "take a variant with layers: head, or choose" if "layers" in chosen else "choose"
        return (
            f"estimator {estimator} covers models that train {' or '.join(_TRAINED[name] for name in covered)}, and "
            f"{model} trains {_TRAINED[own]}; {remedy} another model or estimator"
        )
    return None


def _trained(model: str, settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Which layers a model trains, a key of ``_TRAINED``; None where nobody says."""
    card = registry.card("model", model)
    head = card["view"] == "features" or settings["model"][model].get("trainable_layers") == []
    found: str | None = "head" if head else card.get("trained")
    return found


def without_file(dataset: str, settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why a dataset of the user's own cannot be read, with the remedy; None where its files are there."""
    missing = registry.missing_files("dataset", dataset)
    if missing:
        return (
            f"{registry.place('dataset', dataset)}: its card names {missing[0]}, which lies neither beside it nor in "
            "the data folder; correct files"
        )
    if not registry.card("dataset", dataset).get("own"):
        return None
    path = settings.get("dataset", {}).get(dataset, {}).get("path")
    if not path:
        name = registry.base_name(dataset)
        return f"dataset {dataset} has no path; add datasets: {{'{name}@mine': {{path: ...}}}} and name {name}@mine"
    if not Path(path).exists():
        return f"datasets.{dataset}.path: there is no {path}; correct it"
    return None


def without_part(dataset: str, settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why a dataset cannot be split as its settings say, with the remedy; None where it can."""
    source = settings.get("dataset", {}).get(dataset, {}).get("validation_source")
    if source in ("test_split", "none") and "test" not in registry.card("dataset", dataset)["rows"]:
        return (
            f"datasets.{dataset}.validation_source: {source} needs an official test part, which {dataset} has not; "
            "use holdout"
        )
    return None


def without_effect(dataset: str, key: str, settings: Mapping[str, Any]) -> str | None:
    """Why a setting of a dataset does nothing beside the others, with the remedy; None where it does something.

    ``settings``: those that are given for the dataset or its base name.
    """
    official = "test" in registry.card("dataset", dataset)["rows"]
    source = settings.get("validation_source") or ("test_split" if official else "holdout")
    if settings.get(key) is None:
        return None
    if key == "validation_noise" and source == "none":
        return "has no effect with validation_source none; leave it out"
    if key == "validation_ratio" and source != "test_split":
        return f"has no effect with validation_source {source}; leave it out, or use test_split"
    if key in ("holdout_ratio", "holdout_order") and source != "holdout":
        return f"has no effect with validation_source {source}; leave it out, or use holdout"
    if key == "test_ratio" and official:
        return f"has no effect: {dataset} has an official test part; leave it out, or set test_size"
    if key == "test_ratio" and settings.get("test_size"):
        return "has no effect beside test_size; keep one"
    if key == "subset_ratio" and settings.get("subset_size"):
        return "is given beside subset_size; keep one"
    return None


def memorised(dataset: str, model: str, settings: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the weights that a model starts from have seen the dataset's training samples with their labels.

    What is measured on such a row says little about data that a network has never seen.
    """
    seen = registry.card("model", model).get("memorised", {})
    weights = settings["model"][model].get("weights")
    return registry.base_name(dataset) in seen.get(weights, ())


def without_validation(dataset: str, settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why a dataset cannot serve a system that measures influence; None where it has validation rows."""
    if settings.get("dataset", {}).get(dataset, {}).get("validation_source") == "none":
        return (
            f"dataset {dataset} has no validation rows, on which influence is measured; "
            f"set datasets.{dataset}.validation_source: holdout"
        )
    return None


def _mismatch(kind: str, name: str, card: Mapping[str, Any], dataset: str, data: Mapping[str, Any]) -> str:
    return (
        f"{kind} {name} takes {' and '.join(card['modalities'])} data, {dataset} is of modality {data['modality']}; "
        f"move the {kind} or the dataset to another block"
    )


def foreign_sources(dataset: str, glitch: str, settings: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Base datasets from which a glitch takes foreign samples, in a fixed order; None where no default exists."""
    if "steps" in settings:
        steps = [foreign_sources(dataset, step["glitch"], step) for step in settings["steps"] or ()]
        return tuple(dict.fromkeys(itertools.chain.from_iterable(steps)))
    if not registry.card("glitch", glitch).get("foreign"):
        return ()
    return (settings.get("foreign") or registry.card("dataset", dataset).get("foreign"),)


def sources(dataset: str, glitch: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Base datasets whose rows a cell uses: the host first."""
    foreign = [name for name in foreign_sources(dataset, glitch, settings) if name]
    return (registry.source_of(dataset), *foreign)


def sizes(dataset: str, settings: Mapping[str, Any]) -> tuple[int, int]:
    """Training rows before injection and validation rows of a dataset under its settings.

    Known from the card, or of the user's own data at most so many, so that memory and disk are planned before the
    data are read; a setting that is not given has its default.  Raises GlitchtraceError, naming the key, where there
    are too few rows for a setting, and where the user's own data lack what a setting names.
    """
    card = registry.card("dataset", dataset)
    defaults = {key: each.get("default") for key, each in registry.settings("dataset", dataset).items()}
    split = {**defaults, **settings}
    try:
        rows = {"all": registry.load("dataset", dataset).rows(split)} if card.get("own") else card["rows"]
    except GlitchtraceError as error:
        key = getattr(error, "path", ("path",))[0]
        raise GlitchtraceError(f"datasets.{dataset}.{key}: {error}") from None
    if not {"train", "all"} & set(rows):
        raise GlitchtraceError(
            f'{registry.place("dataset", dataset)}: its card counts no rows; add "all": ... to rows'
        )
    draws = _draws(rows, split)
    for part, (key, count, available) in draws.items():
        if count > available:
            raise GlitchtraceError(
                f"datasets.{dataset}.{key}: {count} is above the {available} rows there are; write {available} at most"
            )
        # Draws are by class, but for the last rows in their order; all rows are no draw.
        by_class = key != "holdout_ratio" or split["holdout_order"] != "tail"
        least = (card["classes"] or 1) if by_class else 1
        whole = count == available and (part == "subset" or (part == "test" and "test" in rows))
        if min(count, available - count) < least and not whole:
            raise GlitchtraceError(
                f"datasets.{dataset}.{key}: divides {available} rows into {count} and {available - count}; both need "
                f"{least} at least{', one per class' if least > 1 else ''}: write another value"
            )
    kept = draws["subset"][1]
    key, validation, _ = draws.get("validation", ("", 0, 0))
    return kept - validation if key == "holdout_ratio" else kept, validation


def _draws(rows: Mapping[str, int], settings: Mapping[str, Any]) -> dict[str, tuple[str, int, int]]:
    """Part of a split -> the setting that says its size, its rows, and of how many; see ``data.split.make_split``."""
    found = {}
    pool = rows.get("train")
    if pool is None:
        key = "test_size" if settings["test_size"] else "test_ratio"
        tested = settings["test_size"] or portion(settings["test_ratio"], rows["all"])
        found["test"] = key, tested, rows["all"]
        pool = rows["all"] - tested
    kept = settings["subset_size"] or portion(settings["subset_ratio"] or 1, pool)
    found["subset"] = "subset_size" if settings["subset_size"] else "subset_ratio", kept, pool
    tests = rows.get("test", 0)
    source = settings["validation_source"] or ("test_split" if tests else "holdout")
    if source == "holdout":
        held = portion(settings["holdout_ratio"], kept)
        if settings["holdout_order"] == "tail":
            held = kept - portion(1 - Fraction(str(settings["holdout_ratio"])), kept)
        found["validation"] = "holdout_ratio", held, kept
    elif source == "test_split":
        ratio = settings["validation_ratio"] or (Fraction(kept, pool) if kept < pool else 0.5)
        found["validation"] = "validation_ratio", portion(ratio, tests), tests
        tests -= portion(ratio, tests)
    if tests and settings["test_size"]:
        found["test"] = "test_size", settings["test_size"], tests
    return found


def training_settings(model: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Learning rate, batch size and epochs of a model on a dataset: by name, base name, or default."""
    table = model["training"]
    row = table.get(dataset) or table.get(registry.base_name(dataset)) or {}
    return {**table["default"], **row}


class Grid:
    """Cells of a study, as the wildcards of their files, found by their keys."""

    def __init__(self, cells: Iterable[Mapping[str, str]]) -> None:
        self._rows = [dict(cell) for cell in cells]
        self._groups: dict[tuple[str, ...], dict[tuple[str, ...], list[dict[str, str]]]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, **keys: object) -> list[dict[str, str]]:
        """The cells whose keys equal the given values, in order.  They are shared: not to be changed."""
        names = tuple(sorted(keys))
        if names not in self._groups:
            self._groups[names] = self._by(names)
        return self._groups[names].get(tuple(str(keys[name]) for name in names), [])

    def distinct(self, *names: str) -> list[dict[str, str]]:
        """The values of some keys, each combination once, in the order of the cells."""
        return [dict(zip(names, values, strict=True)) for values in self._by(names)]

    def trainings(self, **keys: object) -> list[dict[str, str]]:
        """The cells whose keys equal the given values, each training once whatever its estimators."""
        found = {}
        for row in self.rows(**keys):
            found[tuple(value for key, value in row.items() if key != "estimator")] = row
        return list(found.values())

    def named(self, key: str, names: Container[str]) -> list[dict[str, str]]:
        """The cells of which a key has one of the base names."""
        return [row for row in self._rows if registry.base_name(row[key]) in names]

    def glitched(self) -> list[dict[str, str]]:
        """The cells but the clean trainings."""
        return [row for row in self._rows if row["ratio"] != "clean"]

    def _by(self, names: Sequence[str]) -> dict[tuple[str, ...], list[dict[str, str]]]:
        found: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in self._rows:
            found.setdefault(tuple(row[name] for name in names), []).append(row)
        return found


def glitched_sets(cells: Grid) -> dict[tuple[str, str], set[str]]:
    """The ratios of each dataset and glitch, without the clean trainings."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in cells.glitched():
        found.setdefault((row["dataset"], row["glitch"]), set()).add(row["ratio"])
    return found


def with_small_matrices(
    cells: Grid, settings: Mapping[str, Mapping[str, Any]], entries: int
) -> list[dict[str, str]]:
    """The cells whose influence matrix has at most ``entries`` entries."""
    small = {
        dataset
        for (dataset,) in (row.values() for row in cells.distinct("dataset"))
        if math.prod(sizes(dataset, settings["dataset"][dataset])) <= entries
    }
    return [row for row in cells.rows() if row["dataset"] in small]


def check_names(blocks: Iterable[Mapping[str, Any]], kinds: Mapping[str, str]) -> None:
    """Raise GlitchtraceError where a block names no registered component or what is not a legal folder name.

    ``kinds`` maps the keys of a block to kinds of components.
    """
    for block in blocks:
        for axis, kind in kinds.items():
            for name in block.get(axis, ()):
                if not re.fullmatch(paths.NAME, str(name)):
                    raise GlitchtraceError(
                        f"{axis}: '{name}' is not a legal name; use lower-case letters, digits and _, "
                        "and @variant for other settings"
                    )
                registry.card(kind, name)
