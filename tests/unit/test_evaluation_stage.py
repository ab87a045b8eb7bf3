import json
import math

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.stage import evaluate_cell
from glitchtrace.evaluation.summary import (
    summarise,
    summarise_dataset,
    summarise_dataset_gain,
    summarise_study,
    summarise_study_gain,
)
from glitchtrace.glitches.kinds import Kind


class Cell:
    """The files of one small cell: 40 clean samples, then the glitches asked for."""

    def __init__(self, folder, mislabelled=0, anomalous=0):
        self.folder = folder
        rng = np.random.default_rng(5)
        kinds = np.repeat([Kind.CLEAN, Kind.MISLABELLED, Kind.ANOMALOUS], [40, mislabelled, anomalous])
        size = len(kinds)
        true_labels = np.where(kinds == Kind.ANOMALOUS, -1, np.arange(size) % 3)
        labels = np.where(kinds == Kind.MISLABELLED, (true_labels + 1) % 3, true_labels)
        labels[kinds == Kind.ANOMALOUS] = 2
        self.samples = pd.DataFrame(
            {
                "source": np.where(kinds == Kind.ANOMALOUS, "fmnist", "mnist"),
                "row": np.arange(size),
                "label": labels,
                "true_label": true_labels,
                "source_label": np.where(kinds == Kind.ANOMALOUS, 7, true_labels),
                "kind": kinds.astype(np.int8),
            }
        )
        self.scored = pd.DataFrame(
            {
                "sample": np.arange(size),
                "label": labels,
                "SI": rng.normal(size=size),
                "CNCI": (kinds == Kind.MISLABELLED) + 0.1 * rng.random(size),
                "PCID": np.where(kinds == Kind.ANOMALOUS, math.inf, rng.random(size)),
                "CFRank": (kinds != Kind.CLEAN) + 0.1 * rng.random(size),
                "proposed_label": np.where(kinds == Kind.MISLABELLED, true_labels, 0),
                "verdict": np.where(kinds == Kind.ANOMALOUS, Kind.ANOMALOUS, Kind.MISLABELLED).astype(
                    np.int8
                ),
            }
        )
        self.history = pd.DataFrame(
            [
                (epoch, 0.1, part, kind, 1, 0.1 * epoch + shift, 1.0 - shift)
                for epoch in (1, 2)
                for part, kind, shift in [
                    ("train", "all", 0.01),
                    ("train", "clean", 0.02),
                    ("validation", "all", 0.03),
                    ("validation", "clean", 0.04),
                ]
            ],
            columns=["epoch", "learning_rate", "part", "kind", "count", "accuracy", "loss"],
        )

    def path(self, name):
        return str(self.folder / name)

    def evaluate(self, records=(), **options):
        self.scored.to_parquet(self.path("scores.parquet"))
        self.samples.to_parquet(self.path("glitch.parquet"))
        self.history.to_parquet(self.path("history.parquet"))
        evaluate_cell(
            scores=self.path("scores.parquet"),
            glitch=self.path("glitch.parquet"),
            history=self.path("history.parquet"),
            records=list(records),
            metrics=self.path("metrics.parquet"),
            cost=self.path("cost.parquet"),
            **options,
        )
        table = pd.read_parquet(self.path("metrics.parquet"))
        assert list(table.columns) == ["signal", "metric", "value"]
        assert not table.duplicated(["signal", "metric"]).any()
        return table.set_index(["signal", "metric"])["value"]


def test_a_mixed_cell_has_every_measure(tmp_path):
    values = Cell(tmp_path, mislabelled=6, anomalous=4).evaluate()
    assert values["", "samples"] == 50
    assert values["", "glitches"] == 10
    assert values["", "contamination"] == 0.2
    assert [values["", f"count_{kind}"] for kind in ("clean", "mislabelled", "anomalous")] == [40, 6, 4]
    assert (values["", "foreign_class"], values["", "host_label"]) == (7, 2)
    assert values["", "validation_accuracy"] == pytest.approx(0.23)
    assert values["", "validation_loss"] == pytest.approx(0.97)
    assert values["", "training_accuracy_all"] == pytest.approx(0.21)
    assert values["", "training_loss_clean"] == pytest.approx(0.98)
    assert set(values.index.get_level_values("signal")) == {"", "SI", "CNCI", "PCID", "CFRank"}
    assert values["CFRank", "f1"] == values["CNCI", "f1_mislabelled"] == values["PCID", "f1_anomalous"] == 1.0
    assert values["CFRank", "f1_published"] == pytest.approx(20 / 21)
    assert values["PCID", "auroc"] < 1.0
    for kind, count in (("mislabelled", 6), ("anomalous", 4)):
        assert values["CFRank", f"characterisation_accuracy_{kind}"] == 1.0
        assert values["CFRank", f"characterisation_count_{kind}"] == count
        assert values["CFRank", f"confusion_{kind}_{kind}"] == count
    assert values["CFRank", "confusion_clean_clean"] == 40
    assert values["CNCI", "label_repair_accuracy"] == values["CNCI", "label_repair_accuracy_detected"] == 1.0
    assert values["CNCI", "label_repair_count"] == values["CNCI", "label_repair_count_detected"] == 6
    assert ("SI", "label_repair_accuracy") not in values.index
    assert ("SI", "precision_at_50") in values.index
    assert math.isnan(values["SI", "precision_at_100"])


def test_label_repair_tells_all_from_detected(tmp_path):
    cell = Cell(tmp_path, mislabelled=4)
    # In the middle of the clean scores: below the four highest, above half of all.
    cell.scored.loc[40, "CNCI"] = 0.05
    cell.scored.loc[40, "proposed_label"] += 1
    values = cell.evaluate()
    assert values["CNCI", "label_repair_accuracy"] == 0.75
    assert values["CNCI", "label_repair_accuracy_detected"] == 1.0
    assert values["CNCI", "label_repair_count_detected"] == 3


def test_a_cell_of_one_kind_has_neither_characterisation_nor_measures_by_kind(tmp_path):
    values = Cell(tmp_path, mislabelled=5).evaluate()
    assert values["CNCI", "f1"] == 1.0
    metrics = set(values.index.get_level_values("metric"))
    assert not any(
        metric.startswith(("characterisation", "confusion", "f1_mislabelled")) for metric in metrics
    )
    assert "foreign_class" not in metrics


def test_anomalies_of_one_kind_have_no_label_repair(tmp_path):
    values = Cell(tmp_path, anomalous=5).evaluate()
    assert values["PCID", "f1"] == 1.0
    assert ("CNCI", "label_repair_accuracy") not in values.index


def test_the_published_contamination_moves_the_published_rule_alone(tmp_path):
    cell = Cell(tmp_path, anomalous=5)
    ours, published = cell.evaluate(), cell.evaluate(published_contamination=0.2)
    assert published["PCID", "f1_published"] < ours["PCID", "f1_published"]
    others = [key for key in ours.index if key[1] != "f1_published"]
    pd.testing.assert_series_equal(ours[others], published[others])


def test_a_cell_without_glitches_has_its_own_measures_only(tmp_path):
    values = Cell(tmp_path).evaluate()
    assert set(values.index.get_level_values("signal")) == {""}
    assert values["", "contamination"] == values["", "glitches"] == 0
    assert values["", "validation_accuracy"] == pytest.approx(0.23)


def test_anomalies_of_several_classes_name_none(tmp_path):
    cell = Cell(tmp_path, anomalous=4)
    cell.samples.loc[41, "source_label"] = 3
    values = cell.evaluate()
    assert math.isnan(values["", "foreign_class"])
    assert values["", "host_label"] == 2


def test_anomalies_of_the_host_itself_are_not_far(tmp_path):
    cell = Cell(tmp_path, anomalous=4)
    cell.samples["true_label"] = cell.samples["label"]
    assert ("", "foreign_class") not in cell.evaluate().index


def test_a_nan_score_stops_the_job_and_writes_nothing(tmp_path):
    cell = Cell(tmp_path, mislabelled=3)
    cell.scored.loc[2, "PCID"] = math.nan
    with pytest.raises(GlitchtraceError, match="signal 'PCID' is NaN for 1 of 43"):
        cell.evaluate()
    assert not (tmp_path / "metrics.parquet").exists()
    assert not (tmp_path / "cost.parquet").exists()


@pytest.mark.parametrize("fault", ["fewer", "other labels"])
def test_tables_of_different_samples_are_refused(tmp_path, fault):
    cell = Cell(tmp_path, mislabelled=3)
    if fault == "fewer":
        cell.samples = cell.samples.iloc[:-1]
    else:
        cell.scored.loc[0, "label"] += 1
    with pytest.raises(
        GlitchtraceError, match=r"scores\.parquet and .*glitch\.parquet describe different samples"
    ):
        cell.evaluate()


def test_costs_are_gathered_from_the_records_in_their_order(tmp_path):
    records = []
    for stage, seconds in (("train", 12.5), ("detect", 1)):
        record = tmp_path / f"{stage}.json"
        cost = {"seconds": seconds, "cpu_seconds": 2 * seconds, "peak_mib": 300}
        record.write_text(json.dumps({"stage": stage, "cost": cost, "threads": 1}))
        records.append(str(record))
    Cell(tmp_path).evaluate(records)
    table = pd.read_parquet(tmp_path / "cost.parquet")
    assert table.to_dict("list") == {
        "stage": ["train", "detect"],
        "seconds": [12.5, 1.0],
        "cpu_seconds": [25.0, 2.0],
        "peak_mib": [300.0, 300.0],
    }


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"stage": "train"}', '{"stage": "t", "cost": {"seconds": 1}}']
)
def test_a_file_that_is_no_record_is_named(tmp_path, content):
    record = tmp_path / "train.json"
    record.write_text(content)
    with pytest.raises(
        GlitchtraceError, match=r"train\.json (is not the record of a job|cannot be read as JSON)"
    ):
        Cell(tmp_path).evaluate([str(record)])
    assert not (tmp_path / "metrics.parquet").exists()


def keys(seed, ratio="0.1"):
    return {
        "dataset": "mnist",
        "model": "mlp",
        "glitch": "uniform",
        "ratio": ratio,
        "seed": seed,
        "estimator": "tracin",
    }


def tidy(folder, name, *rows):
    pd.DataFrame(rows, columns=["signal", "metric", "value"]).to_parquet(folder / name)
    return str(folder / name)


def test_a_summary_is_sorted_and_does_not_depend_on_the_order_of_its_inputs(tmp_path):
    first = tidy(tmp_path, "a.parquet", ("SI", "f1", 0.9), ("", "samples", 5.0))
    second = tidy(tmp_path, "b.parquet", ("SI", "f1", math.nan))
    third = tidy(tmp_path, "c.parquet", ("", "samples", 5.0))
    cells = [keys(10), keys(2), keys(3, "clean")]
    tables = [first, second, third]
    summarise(cells=cells, tables=tables, summary=str(tmp_path / "one.parquet"))
    summarise(cells=cells[::-1], tables=tables[::-1], summary=str(tmp_path / "two.parquet"))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    table = pd.read_parquet(tmp_path / "one.parquet")
    assert list(table.columns) == [*keys(0), "signal", "metric", "value"]
    assert table["seed"].tolist() == [2, 10, 10, 3]
    assert table["signal"].tolist() == ["SI", "", "SI", ""]


def test_summaries_of_datasets_are_summarised_without_keys(tmp_path):
    tables = []
    for seed in (1, 0):
        table = str(tmp_path / f"{seed}.parquet")
        summarise(cells=[keys(seed)], tables=[tidy(tmp_path, "x.parquet", ("SI", "f1", 0.5))], summary=table)
        tables.append(table)
    summarise(cells=[{}, {}], tables=tables, summary=str(tmp_path / "all.parquet"))
    assert pd.read_parquet(tmp_path / "all.parquet")["seed"].tolist() == [0, 1]


def test_gains_are_summarised_by_policy_and_part(tmp_path):
    gain = pd.DataFrame(
        {
            "policy": ["none", "none"],
            "part": ["validation", "test"],
            "accuracy": [0.9, 0.8],
            "relabelled": [0, 0],
        }
    )
    gain.to_parquet(tmp_path / "gain.parquet")
    summarise(cells=[keys(0)], tables=[str(tmp_path / "gain.parquet")], summary=str(tmp_path / "all.parquet"))
    table = pd.read_parquet(tmp_path / "all.parquet")
    assert table["part"].tolist() == ["test", "validation"]
    assert table["accuracy"].tolist() == [0.8, 0.9]


def test_a_summary_refuses_what_does_not_fit_together(tmp_path):
    good = tidy(tmp_path, "good.parquet", ("SI", "f1", 0.5))
    pd.DataFrame({"signal": ["SI"]}).to_parquet(tmp_path / "other.parquet")
    summary = str(tmp_path / "summary.parquet")
    with pytest.raises(GlitchtraceError, match="0 tables"):
        summarise(cells=[], tables=[], summary=summary)
    with pytest.raises(GlitchtraceError, match="1 tables for 2 cells"):
        summarise(cells=[keys(0), keys(1)], tables=[good], summary=summary)
    with pytest.raises(GlitchtraceError, match=r"other\.parquet has other columns"):
        summarise(cells=[keys(0), keys(1)], tables=[good, str(tmp_path / "other.parquet")], summary=summary)
    assert not (tmp_path / "summary.parquet").exists()


def test_a_dataset_and_then_a_study_gather_metrics_gains_and_costs(tmp_path):
    def paths(name):
        return {key: str(tmp_path / f"{name}-{key}.parquet") for key in ("summary", "gain", "cost")}

    columns = {"metrics": "metric", "gains": "policy", "costs": "stage"}
    inputs = {name: str(tmp_path / f"{name}.parquet") for name in columns}
    for name, column in columns.items():
        pd.DataFrame({column: ["x"], "value": [0.5]}).to_parquet(inputs[name])
    for seed in (0, 1):
        metrics, gains, costs = ([path] for path in inputs.values())
        target = paths(seed)
        gain = target.pop("gain")
        summarise_dataset(metrics=metrics, costs=costs, cells=[keys(seed)], **target)
        summarise_dataset_gain(gains=gains, cells=[keys(seed)], gain=gain)
    metrics, gains, costs = ([paths(seed)[name] for seed in (1, 0)] for name in ("summary", "gain", "cost"))
    target = paths("study")
    summarise_study_gain(gains=gains, gain=target.pop("gain"))
    summarise_study(metrics=metrics, costs=costs, **target)
    for (output, path), column in zip(paths("study").items(), columns.values(), strict=True):
        table = pd.read_parquet(path)
        assert list(table.columns) == [*keys(0), column, "value"], output
        assert table["seed"].tolist() == [0, 1]
