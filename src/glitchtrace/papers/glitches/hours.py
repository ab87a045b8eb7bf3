"""How long a study takes, by the cells that were run; called where the configuration lies."""

import functools

from glitchtrace.core import configuration, grid, registry
from glitchtrace.operations.jobs import read_config
from glitchtrace.papers.glitches.tables import Tables

# CPU seconds of one cell of a network that has not been run here: estimated from its speed (EfficientNet-Lite0: 6 ms a
# picture and a head; the others with random weights).
UNMEASURED = {"vit_b16": 600.0, "convnext_tiny": 250.0, "efficientnet_lite0": 35.0}
RETRAININGS = 3  # of a repaired cell
FOLDS = 5  # of the cross-fitting


class Hours:
    """Estimated CPU hours of studies from nothing, by the cells that were run."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._of_study: dict[str, float] = {}
        self._trainings: dict[str, int] = {}
        self._of_cell: dict[tuple[str, str], tuple[float, float]] = {}

    def of(self, study: str) -> float:
        """Trainings, influence and signals of the cells of a study, repairs, folds where detectors need them."""
        if study not in self._of_study:
            config = read_config(str(configuration.DEFAULT.parent / "studies" / f"{study}.yaml"))
            seconds = 0.0
            detectors = registry.chosen("detector", config["detectors"])
            folds = FOLDS * any(
                "out_of_fold" in registry.card("detector", name)["needs"] for name in detectors
            )
            trained: set[tuple[str, ...]] = set()
            for cell in grid.cells(config["grid"], config["settings"]):
                training, influence = self._seconds(cell.dataset, cell.model)
                key = (cell.dataset, cell.model, cell.glitch, cell.ratio, str(cell.seed))
                if key not in trained:
                    trained.add(key)
                    seconds += training * (1 + folds)
                seconds += influence + (RETRAININGS * training if config["repair"] else 0)
            self._of_study[study] = seconds / 3600
            self._trainings[study] = len(trained)
        return self._of_study[study]

    def trainings(self, study: str) -> int:
        """How many networks a study trains: cells that differ in the estimator alone share one."""
        self.of(study)
        return self._trainings[study]

    def _seconds(self, dataset: str, model: str) -> tuple[float, float]:
        """CPU seconds of one training, and of its influence and signals.

        The mean over the cells of the same dataset and model that were run; else the seconds per training sample of
        the same model on all others.
        """
        base = registry.base_name(model)
        if base in UNMEASURED:
            return UNMEASURED[base], 0.0
        if (dataset, base) not in self._of_cell:
            measured = self._tables.costs(base)
            near = measured[measured["dataset"] == dataset]
            share = 1.0
            if near.empty:
                near = measured
                share = training_samples(dataset) / measured["dataset"].map(training_samples).mean()
            seconds = near[["train", "influence"]].mean() * share
            self._of_cell[dataset, base] = (float(seconds["train"]), float(seconds["influence"]))
        return self._of_cell[dataset, base]


@functools.cache
def training_samples(dataset: str) -> int:
    """Training samples of a dataset as the shipped configuration has it."""
    cell = {
        "datasets": [dataset],
        "models": ["linear"],
        "glitches": ["none"],
        "ratios": ["clean"],
        "seeds": [0],
    }
    default = configuration.read(configuration.DEFAULT)
    config = configuration.complete({**default, "grid": [cell]}, default)
    return grid.sizes(dataset, config["settings"]["dataset"][dataset])[0]
