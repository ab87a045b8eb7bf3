"""Which trainings are recorded, by which methods samples are removed from them, and what is legal.

A block of ``cleansing`` is the product of its axes; the same cell of several blocks has the methods, numbers
of removed samples and retrained epochs of all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from glitchtrace.core import grid, registry
from glitchtrace.core.errors import GlitchtraceError

AXES = {
    "datasets": "dataset",
    "models": "model",
    "glitches": "glitch",
    "ratios": "ratio",
    "seeds": "seed",
    "protocols": "protocol",
}
# Snapshots of a protocol, from what they hold to what a method may ask for.
_REACH = {"none": 0, "last": 1, "all": 2}


@dataclass(frozen=True, order=True)
class Cell:
    """One recorded training; the fields but the last three are the wildcards of its files."""

    dataset: str
    model: str
    glitch: str
    ratio: str
    seed: int
    protocol: str
    methods: tuple[str, ...] = field(compare=False, default=())
    removals: tuple[int, ...] = field(compare=False, default=())
    retrained: tuple[str, ...] = field(compare=False, default=())

    def wildcards(self) -> dict[str, str]:
        """The cell's keys as Snakemake wildcards."""
        return {key: str(value) for key, value in asdict(self).items() if key in AXES.values()}


def cells(blocks: Sequence[Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]) -> tuple[Cell, ...]:
    """All cells of the blocks, sorted, each once.

    ``blocks`` and ``settings`` (kind -> name -> settings) are of a checked and resolved configuration.  Raises
    GlitchtraceError for an illegal combination, with the block's position and the remedy.
    """
    found: dict[tuple[str, ...], Cell] = {}
    for position, keys in grid.product(blocks, AXES):
        block = blocks[position]
        problem = _illegal(keys, block, settings)
        if problem:
            raise GlitchtraceError(f"cleansing[{position}]: {problem}")
        key = tuple(keys.values())
        before = found.get(key)
        found[key] = Cell(
            keys["dataset"],
            keys["model"],
            keys["glitch"],
            keys["ratio"],
            int(keys["seed"]),
            keys["protocol"],
            methods=_union(before.methods if before else (), block["cleansing_methods"]),
            removals=tuple(sorted({*(before.removals if before else ()), *block["removals"]})),
            retrained=tuple(sorted({*(before.retrained if before else ()), *block["retrain"]})),
        )
    return tuple(sorted(found.values()))


def _union(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*first, *second]))


def _illegal(
    keys: Mapping[str, str], block: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]]
) -> str | None:
    problem = (
        grid.illegal(keys["dataset"], keys["model"], keys["glitch"], keys["ratio"], settings)
        or grid.without_validation(keys["dataset"], settings)
        or _dropping_out(keys["model"], settings["model"][keys["model"]])
    )
    if problem:
        return problem
    kept = settings["protocol"][keys["protocol"]]["snapshots"]
    for method in block["cleansing_methods"]:
        card = registry.card("cleansing_method", method)
        needed = card.get("snapshots", "none")
        if _REACH[kept] < _REACH[needed]:
            return (
                f"method {method} needs the parameters of {needed} epochs' steps, protocol {keys['protocol']} keeps "
                f"{kept}; set protocols.{keys['protocol']}.snapshots: {needed}"
            )
        view = registry.card("model", keys["model"])["view"]
        if view not in card.get("views", [view]):
            return (
                f"method {method} takes {' and '.join(card['views'])}, model {keys['model']} sees each sample as "
                f"{view}; leave the method out of this block"
            )
    return None


def _dropping_out(model: str, options: Mapping[str, Any]) -> str | None:
    """Why a model with dropout cannot be recorded, with the keys to set; null stands for a rate of the authors'."""
    rates = [key for key in options if key == "dropout" or key.endswith("_dropout")]
    active = [f"models.{model}.{key}: 0" for key in rates if options[key] != 0]
    if active:
        return (
            "a recorded training repeats itself bit by bit, which dropout prevents; "
            f"set {' and '.join(active)}, or choose another model"
        )
    return None


def removals(found: Iterable[Cell]) -> list[dict[str, str]]:
    """The wildcards of what is removed: of every cell and every choice of epochs that are trained again."""
    return [{**cell.wildcards(), "retrained": retrained} for cell in found for retrained in cell.retrained]


def find(found: Iterable[Cell], wildcards: Mapping[str, str]) -> Cell:
    """The cell that the wildcards name."""
    keys = [wildcards[key] for key in AXES.values()]
    return next(cell for cell in found if list(cell.wildcards().values()) == keys)


def fidelity_cells(blocks: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[int]]:
    """(task, network) -> seeds of the fidelity study, sorted; the blocks of one pair are joined."""
    axes = {"fidelity_tasks": "task", "networks": "network", "seeds": "seed"}
    found: dict[tuple[str, str], set[int]] = {}
    for _, keys in grid.product(blocks, axes):
        found.setdefault((keys["task"], keys["network"]), set()).add(int(keys["seed"]))
    return {pair: sorted(seeds) for pair, seeds in sorted(found.items())}
