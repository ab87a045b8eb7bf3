"""All measures of one cell as rows of ``metrics.parquet``."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from glitchtrace.detectors.ranks import flag_top
from glitchtrace.evaluation.characterisation import KINDS, characterise
from glitchtrace.evaluation.detection import (
    check_scores,
    detection_metrics,
    f1_known_ratio,
    precision_recall_f1,
)
from glitchtrace.evaluation.label_repair import label_repair_accuracy
from glitchtrace.evaluation.samples import signal_names
from glitchtrace.glitches.kinds import Kind

Measures = dict[str, float]


def cell_measures(
    samples: pd.DataFrame, history: pd.DataFrame, numbers: pd.DataFrame | None = None
) -> Measures:
    """Size and contamination of the training set, and accuracy and loss after the last epoch.

    Far anomalies, samples without a true label, also give ``foreign_class`` and ``host_label``, NaN where
    they come from several classes or carry several labels.  ``numbers``: estimated numbers of wrong labels (counter,
    count, low, high).
    """
    kinds = samples["kind"].to_numpy()
    measures = {
        "samples": float(len(kinds)),
        "glitches": float((kinds != Kind.CLEAN).sum()),
        "contamination": float(np.mean(kinds != Kind.CLEAN)),
        **{f"count_{kind.label}": float((kinds == kind).sum()) for kind in _present(kinds)},
    }
    foreign = samples[(kinds == Kind.ANOMALOUS) & (samples["true_label"].to_numpy() < 0)]
    if len(foreign):
        measures["foreign_class"] = _only(foreign["source_label"])
        measures["host_label"] = _only(foreign["label"])
    last = history[history["epoch"] == history["epoch"].max()]
    for row in last.itertuples():
        if row.part == "train":
            measures[f"training_accuracy_{row.kind}"] = float(row.accuracy)
            measures[f"training_loss_{row.kind}"] = float(row.loss)
        elif row.kind == "all":
            measures["validation_accuracy"] = float(row.accuracy)
            measures["validation_loss"] = float(row.loss)
    for row in [] if numbers is None else numbers.to_dict("records"):
        measures[f"number_{row['counter']}"] = float(row["count"])
        measures[f"number_low_{row['counter']}"] = float(row["low"])
        measures[f"number_high_{row['counter']}"] = float(row["high"])
    return measures


def signal_measures(
    scored: pd.DataFrame,
    samples: pd.DataFrame,
    published_contamination: float | None = None,
    numbers: pd.DataFrame | None = None,
) -> Iterator[tuple[str, Measures]]:
    """Each signal of the cell with its measures; none for a cell without glitches.

    Every signal is measured against all glitches; where several kinds are present, also against each kind
    alone, at that kind's own count, and with ``numbers`` also at each estimated number.  CFRank has the
    characterisation of mixed cells besides, CNCI the label repair.  Raises GlitchtraceError where a score is NaN.
    """
    kinds = samples["kind"].to_numpy()
    glitches = [kind for kind in _present(kinds) if kind != Kind.CLEAN]
    for signal in signal_names(scored):
        scores = scored[signal].to_numpy(dtype=np.float64)
        check_scores(signal, scores)
        if not glitches:
            continue
        measures = detection_metrics(scores, kinds != Kind.CLEAN, published_contamination)
        if len(glitches) > 1:
            measures |= {f"f1_{kind.label}": f1_known_ratio(scores, kinds == kind) for kind in glitches}
        for row in [] if numbers is None else numbers.to_dict("records"):
            flagged = flag_top(scores, round(float(row["count"])))
            measures[f"f1_at_{row['counter']}"] = precision_recall_f1(flagged, kinds != Kind.CLEAN)[2]
        if signal == "CFRank" and len(glitches) > 1:
            measures |= _characterisation(scores, scored["verdict"].to_numpy(), kinds)
        if signal == "CNCI" and Kind.MISLABELLED in glitches:
            measures |= _label_repair(scores, scored["proposed_label"].to_numpy(), samples)
        yield signal, measures


def _characterisation(cfrank: np.ndarray, verdicts: np.ndarray, kinds: np.ndarray) -> Measures:
    found = characterise(cfrank, verdicts, kinds, detected=int((kinds != Kind.CLEAN).sum()))
    measures: Measures = {}
    for kind in (Kind.MISLABELLED, Kind.ANOMALOUS):
        measures[f"characterisation_accuracy_{kind.label}"] = found.accuracy(kind)
        measures[f"characterisation_count_{kind.label}"] = float(found.count(kind))
    for row, true in enumerate(KINDS):
        for column, predicted in enumerate(KINDS):
            measures[f"confusion_{true.label}_{predicted.label}"] = float(found.confusion[row, column])
    return measures


def _label_repair(cnci: np.ndarray, proposed: np.ndarray, samples: pd.DataFrame) -> Measures:
    kinds, true_labels = samples["kind"].to_numpy(), samples["true_label"].to_numpy()
    detected = flag_top(cnci, int((kinds == Kind.MISLABELLED).sum()))
    accuracy, count = label_repair_accuracy(proposed, true_labels, kinds)
    accuracy_detected, count_detected = label_repair_accuracy(proposed, true_labels, kinds, detected)
    return {
        "label_repair_accuracy": accuracy,
        "label_repair_count": float(count),
        "label_repair_accuracy_detected": accuracy_detected,
        "label_repair_count_detected": float(count_detected),
    }


def _present(kinds: np.ndarray) -> list[Kind]:
    return [Kind(kind) for kind in np.unique(kinds)]


def _only(values: pd.Series) -> float:
    """The one value of a column, NaN if there are several."""
    return float(values.iloc[0]) if (values == values.iloc[0]).all() else float("nan")
