"""Stage: train again on each repair of a cell, and measure on clean data what it gains."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from glitchtrace.core import files
from glitchtrace.data.cells import CellData, load_cell
from glitchtrace.models.network import Network
from glitchtrace.repair.plans import read_plans
from glitchtrace.training.checkpoints import read_checkpoints
from glitchtrace.training.device import choose
from glitchtrace.training.evaluation import evaluate
from glitchtrace.training.stage import build, fit_cell, shared_folder, view


def retrain(
    *,
    features: Sequence[str],
    split: str,
    glitch: str,
    repaired: str,
    checkpoints: str,
    gain: str,
    dataset: str,
    model: str,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    evaluation_batch: int,
    device: str = "cpu",
    stored: Sequence[str] = (),
    share: bool = False,
) -> None:
    """Write ``gain.parquet``: accuracy and mean cross-entropy on validation and test after each repair.

    Every policy trains anew from the same initial weights with the same loader seed, on the samples it keeps
    and with its labels.  A policy that changes nothing has been trained already: its network is the last of
    ``checkpoints``.  A class that a policy drops altogether stays in the head and in the test, and counts as
    it fares.  Columns: policy, part, accuracy, loss, and the numbers of samples relabelled and dropped.
    ``stored``: for a frozen backbone, the file of the stage ``extract_features``; ``share``: take what labels
    do not change from the trainings of the run, for policies that drop nothing.
    Raises GlitchtraceError where a policy drops every sample or is for other samples.
    """
    cell = load_cell(
        features=features, split=split, glitch=glitch, dataset=dataset, view=view(model), stored=stored
    )
    place = choose(device)
    shared = shared_folder(features, split, glitch) if share else None
    rows = []
    for policy, plan in read_plans(repaired, samples=len(cell.train)).items():
        if plan.changes_nothing:
            network = _trained(cell, model, settings, checkpoints).to(place)
        else:
            network = fit_cell(
                cell,
                plan.labels,
                plan.kept,
                model=model,
                settings=settings,
                training=training,
                seed=seed,
                evaluation_batch=evaluation_batch,
                device=device,
                shared=shared,
            )
        for part, inputs, labels in (
            ("validation", cell.validation, cell.validation_labels),
            ("test", cell.test, cell.test_labels),
        ):
            outputs = evaluate(network, inputs, batch_size=evaluation_batch, device=place)
            rows.append(
                {
                    "policy": policy,
                    "part": part,
                    "accuracy": outputs.accuracy(labels),
                    "loss": outputs.loss(labels),
                    "relabelled": plan.relabelled,
                    "dropped": plan.dropped,
                }
            )
    files.write_parquet(pd.DataFrame(rows), gain)


def _trained(cell: CellData, model: str, settings: Mapping[str, Any], checkpoints: str) -> Network:
    """The network of the cell after its last epoch."""
    network = build(cell, model, settings)
    network.restore(read_checkpoints(checkpoints)[-1])
    return network
