"""Cases of the published systems: one cell of RDIA and one repeat of CINCER, raw data included, imports not."""

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
Results = dict[str, np.ndarray]
RDIA = {"C": 0.1, "units": "code", "solver": "cg", "solver_settings": {}}


def rdia() -> Callable[[], Results]:
    """MNIST 1 against 7: 9,088 training pictures, 80 % of the labels flipped, α = 0.0002."""
    from glitchtrace.core import registry
    from glitchtrace.papers.rdia import stage  # noqa: F401

    registry.load("relabelling", "rdia"), registry.load("learner", "logistic")
    return lambda: _in_a_folder(_rdia)


def cincer_breast() -> Callable[[], Results]:
    """Breast cancer with the fully connected network: 100 arriving samples, Top Fisher, published settings."""
    from cincer_repeat import prepared, repeat

    from glitchtrace.core import registry
    from glitchtrace.papers.cincer import stage  # noqa: F401

    registry.load("negotiator", "top_fisher")

    def call(folder: Path) -> Results:
        prepared(folder, "breast")
        with chdir(ROOT):  # a configuration is read where the workflow lies
            repeat(folder, "breast", 0, 100)
        return {}

    return lambda: _in_a_folder(call)


def _rdia(folder: Path) -> Results:
    import pandas as pd

    from glitchtrace.data.fetch import fetch_data
    from glitchtrace.data.prepare import prepare_data
    from glitchtrace.glitches.stage import inject_glitch
    from glitchtrace.papers.rdia.stage import measure_rdia, relabel_rdia

    source = folder / "sources" / "mnist17"
    paths = {
        name: source / f"{name}.npy" if name != "description" else source / "source.json"
        for name in ("features", "labels", "description")
    }
    fetch_data(dataset="mnist17", **paths)
    split, glitch = folder / "split.parquet", folder / "glitch.parquet"
    prepare_data(
        labels=paths["labels"],
        description=paths["description"],
        split=split,
        seed=0,
        settings={"validation_source": "holdout", "holdout_ratio": 0.3, "holdout_order": "tail"},
    )
    inject_glitch(
        split=split,
        labels=[paths["labels"]],
        descriptions=[paths["description"]],
        glitch=glitch,
        dataset="mnist17",
        name="uniform",
        ratio="0.8",
        seed=0,
        settings={},
    )
    cell: dict[str, Any] = {
        "features": [str(paths["features"])],
        "split": str(split),
        "glitch": str(glitch),
        "influence": str(folder / "influence.parquet"),
        "fit": str(folder / "fit.safetensors"),
        "learner": "logistic",
    }
    measure_rdia(**cell, settings=RDIA)
    relabel_rdia(
        **cell,
        repaired=str(folder / "repaired.parquet"),
        gain=str(folder / "gain.parquet"),
        learner_settings=RDIA,
        relabelling="rdia",
        settings={"alpha": 0.0002, "target": "moving"},
        seed=0,
    )
    gain = pd.read_parquet(folder / "gain.parquet").set_index("part")
    return {"test log loss": gain.loc[["test"], "log_loss"].to_numpy()}


def _in_a_folder(call: Callable[[Path], Results]) -> Results:
    with TemporaryDirectory() as name:
        return call(Path(name))
