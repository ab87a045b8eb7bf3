"""Accuracy and loss by kind, and their change against clean training."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.reporting.figures.accuracy import MARKS, accuracy_table, draw_accuracy, plot_accuracy

METRICS = {
    "validation_accuracy": 0.9,
    "validation_loss": 0.4,
    "training_accuracy_clean": 0.95,
    "training_loss_clean": 0.2,
    "training_accuracy_mislabelled": 0.01,
    "training_loss_mislabelled": 4.0,
    "f1": 0.5,
}


def summary(glitches: tuple[tuple[str, str], ...] = (("uniform", "0.1"), ("none", "clean"))) -> pd.DataFrame:
    """Two datasets, two models, three seeds, two estimators; clean training is three points better."""
    return pd.DataFrame(
        {
            "dataset": dataset,
            "model": model,
            "glitch": glitch,
            "ratio": ratio,
            "estimator": estimator,
            "seed": seed,
            "signal": "",
            "metric": metric,
            "value": value + 0.01 * seed + (0.03 if ratio == "clean" else 0),
        }
        for dataset in ("mnist", "fmnist")
        for model in ("resnet20", "vit_b16")
        for glitch, ratio in glitches
        for estimator in ("tracin", "captum_tracincp")
        for seed in range(3)
        for metric, value in METRICS.items()
    )


def test_means_are_over_seeds_and_each_training_counts_once() -> None:
    found = accuracy_table(summary()).set_index(["dataset", "model", "ratio", "samples", "measure"])
    assert set(found["n"]) == {3}
    row = found.loc[("mnist", "vit_b16", "0.1", "mislabelled", "loss")]
    assert row["mean"] == pytest.approx(4.01)
    assert row["std"] == pytest.approx(0.01)


def test_the_change_against_clean_training_is_paired_and_in_points() -> None:
    found = accuracy_table(summary())
    changed = found[found["change"].notna()]
    assert set(changed["samples"].astype(str)) == {"validation"}
    assert set(changed["ratio"]) == {"0.1"}
    np.testing.assert_allclose(changed[["change", "low", "high"]], -3.0)
    assert accuracy_table(summary((("uniform", "0.1"),)))["change"].isna().all()


def test_each_dataset_has_its_panels_and_each_training_its_marks() -> None:
    values = accuracy_table(summary())
    figure = draw_accuracy(values)
    assert len(figure.axes) == 4
    assert [axes.get_title(loc="left") for axes in figure.axes[::2]] == ["Fashion-MNIST", "MNIST"]
    assert len(figure.axes[0].get_yticklabels()) == 4
    marks = figure.axes[0].containers
    assert len(marks) == 4 * 3, "two models and two glitches, three groups of samples"
    assert set(MARKS) >= set(values["samples"].astype(str))


def test_the_stage_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    files.write_parquet(summary(), tmp_path / "summary.parquet")
    for name in ("a", "b"):
        outputs = {"figures": [tmp_path / f"{name}.svg"], "table": tmp_path / f"{name}.csv"}
        plot_accuracy(summary=tmp_path / "summary.parquet", **outputs)
    for suffix in ("svg", "csv"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_summary_without_accuracy_is_refused(tmp_path: Path) -> None:
    rows = summary()
    files.write_parquet(rows[rows["metric"] == "f1"], tmp_path / "summary.parquet")
    with pytest.raises(GlitchtraceError, match="has no validation accuracy"):
        plot_accuracy(summary=tmp_path / "summary.parquet", figures=[], table=tmp_path / "t.csv")
