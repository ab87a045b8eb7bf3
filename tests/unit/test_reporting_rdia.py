"""Tables and figures of RDIA and RDIA-LS."""

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_parquet
from glitchtrace.papers.rdia.figures import (
    MEASURES,
    by_ratio,
    draw_rdia,
    method_name,
    plot_rdia,
    rdia_table,
    tabulate_rdia_baselines,
    tabulate_rdia_thresholds,
    thresholds_table,
)
from glitchtrace.papers.rdia_ls.figures import draw_rdia_ls, plot_rdia_ls, rdia_ls_table, styles_of

VARIANTS = {"erm": np.nan, "rdia@alpha_0_01": 0.01, "rdia@alpha_0_002": 0.002, "dropout": None}


def gains(ratios=("clean", "0.8"), seeds=3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "dataset": "mnist17@tail",
            "learner": "logistic",
            "glitch": "none" if ratio == "clean" else "uniform",
        }
        | {"ratio": ratio, "seed": seed, "relabelling": name, "part": part}
        | {measure: rng.uniform(0.02, 1) for measure in MEASURES}
        | {"alpha": [0.01, 0.002, 0.002][seed] if alpha is None else alpha}
        for ratio in ratios
        for seed in range(seeds)
        for name, alpha in VARIANTS.items()
        for part in ("validation", "test")
    ]
    return pd.DataFrame(rows)


def histories(selections=("plain", "rdia_ls@mnist"), seeds=2, epochs=50) -> pd.DataFrame:
    keys = {"dataset": "mnist@whole", "model": "mlp", "glitch": "independent", "ratio": "0.8"}
    return pd.DataFrame(
        {**keys, "seed": seed, "selection": name, "epoch": epoch, "pure_ratio": np.nan if epoch == 0 else 0.5}
        | {"test_accuracy": (epoch % 45) / 100 + seed / 10, "test_worst_class_accuracy": seed / 10}
        for name in selections
        for seed in range(seeds)
        for epoch in range(epochs)
    )


def test_means_and_deviations_are_over_the_seeds_of_the_test_part():
    found = gains()
    table = rdia_table(found)
    assert len(table) == 8
    (row,) = table[(table["ratio"] == "0.8") & (table["relabelling"] == "erm")].to_dict("records")
    values = found.query("ratio == '0.8' and relabelling == 'erm' and part == 'test'")["log_loss"]
    assert row["log_loss"] == pytest.approx(values.mean())
    assert row["log_loss_std"] == pytest.approx(values.std())
    assert row["seeds"] == 3
    assert np.isnan(row["alpha"])


def test_methods_stand_in_their_order_and_thresholds_ascend():
    table = rdia_table(gains(ratios=("0.8",)))
    assert table["name"].tolist() == ["ERM", "dropping, α chosen", "RDIA, α = 0.002", "RDIA, α = 0.01"]


def test_a_variant_without_a_threshold_is_named_by_itself():
    assert method_name("uids@ratio_0_6", pd.Series([np.nan])) == "UIDS (ratio 0 6)"
    assert method_name("rdia@frozen", pd.Series([0.002, 0.002])) == "RDIA (frozen)"


def test_one_panel_per_noise_from_clean_to_noisy():
    figure = draw_rdia(rdia_table(gains(ratios=("0.8", "clean", "0.2"))))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["0 % wrong labels", "20 % wrong labels", "80 % wrong labels"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["ERM", "dropping, α chosen", "RDIA, α = 0.002", "RDIA, α = 0.01"]
    assert all(axes.get_xscale() == "log" for axes in figure.axes)


def test_the_stages_write_figures_and_tables_and_refuse_nothing_to_draw(tmp_path):
    write_parquet(gains(), tmp_path / "rdia.parquet")
    write_parquet(histories(), tmp_path / "rdia_ls.parquet")
    for name, plot in (("rdia", plot_rdia), ("rdia_ls", plot_rdia_ls)):
        figures = [tmp_path / f"{name}.{suffix}" for suffix in ("svg", "png")]
        plot(summary=tmp_path / f"{name}.parquet", figures=figures, table=tmp_path / f"{name}.csv")
        assert all(figure.stat().st_size > 1000 for figure in figures)
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) == (8 if name == "rdia" else 2)
    found = gains()
    write_parquet(found[found["part"] == "validation"], tmp_path / "rdia.parquet")
    with pytest.raises(GlitchtraceError, match="no rows of the part test"):
        plot_rdia(summary=tmp_path / "rdia.parquet", figures=[tmp_path / "x.svg"], table=tmp_path / "x.csv")
    assert not (tmp_path / "x.svg").exists()


def test_methods_by_ratio_have_clean_labels_under_every_kind_of_noise():
    found = gains(ratios=("clean", "0.2", "0.8"))
    flips = found[(found["ratio"] == "0.8") & (found["relabelling"] == "erm")].assign(glitch="independent")
    table = rdia_table(pd.concat([found, flips.assign(log_loss=0.5)]))
    pivot = by_ratio(table, ("log_loss", "accuracy")).set_index(["glitch", "relabelling"])
    assert list(pivot)[-6:] == [
        f"{measure}_at_{ratio}" for ratio in ("clean", "0.2", "0.8") for measure in ("log_loss", "accuracy")
    ]
    for ratio in ("clean", "0.2", "0.8"):
        cells = table[(table["ratio"] == ratio) & (table["glitch"] != "independent")].set_index("relabelling")
        own = pivot.loc["uniform"]
        assert own[f"log_loss_at_{ratio}"].to_dict() == cells["log_loss"].to_dict()
        assert own[f"accuracy_at_{ratio}"].to_dict() == cells["accuracy"].to_dict()
    flipped = pivot.loc[("independent", "erm")]
    assert flipped["log_loss_at_0.8"] == 0.5
    assert flipped["log_loss_at_clean"] == pivot.loc[("uniform", "erm"), "log_loss_at_clean"]
    assert np.isnan(flipped["log_loss_at_0.2"])


def test_a_study_of_clean_labels_alone_has_its_row():
    pivot = by_ratio(rdia_table(gains(ratios=("clean",))), ("log_loss",))
    assert set(pivot["glitch"]) == {"none"}
    assert len(pivot) == 4
    assert list(pivot)[-1] == "log_loss_at_clean"


def test_published_losses_stand_above_those_of_the_same_threshold():
    alphas = {"rdia@alpha_0_01": 0.01, "rdia@alpha_0_002": 0.002, "rdia@mine": 0.3}
    found = gains(ratios=("clean", "0.8"))
    mine = found[found["relabelling"] == "rdia@alpha_0_01"].assign(relabelling="rdia@mine", alpha=0.3)
    table = rdia_table(pd.concat([found, mine]))
    table = table[table["relabelling"].isin(alphas)]
    rows = thresholds_table(table, alphas)
    assert rows[["alpha", "source", "dataset"]].values.tolist() == [
        [0.3, "measured", "mnist17@tail"],
        [0.01, "published", "mnist17"],
        [0.01, "measured", "mnist17@tail"],
        [0.002, "published", "mnist17"],
        [0.002, "measured", "mnist17@tail"],
    ]
    assert rows.loc[1, ["log_loss_at_clean", "log_loss_at_0.8"]].tolist() == [0.0235, 0.1009]
    assert rows.loc[1, ["seeds", "log_loss_std_at_0.8"]].isna().all()
    other = thresholds_table(table.assign(dataset="wine"), alphas)
    assert set(other["source"]) == {"measured"}


def test_the_tables_are_written_and_a_study_without_thresholds_is_refused(tmp_path):
    write_parquet(gains(), tmp_path / "rdia.parquet")
    tabulate_rdia_baselines(summary=tmp_path / "rdia.parquet", table=tmp_path / "all.csv")
    assert pd.read_csv(tmp_path / "all.csv")["relabelling"].tolist() == [
        "erm",
        "dropout",
        "rdia@alpha_0_002",
        "rdia@alpha_0_01",
    ]
    options = {"summary": tmp_path / "rdia.parquet", "table": tmp_path / "alphas.csv"}
    tabulate_rdia_thresholds(**options, alphas={"rdia@alpha_0_01": 0.01})
    assert pd.read_csv(tmp_path / "alphas.csv")["source"].tolist() == ["published", "measured"]
    with pytest.raises(GlitchtraceError, match="has no relabelling rdia@mine; run the target 'rdia' again"):
        tabulate_rdia_thresholds(**options, alphas={"rdia@mine": 0.3})


def test_accuracy_at_the_end_at_its_best_and_in_the_mean():
    table = rdia_ls_table(histories(selections=("plain",)))
    (row,) = table.to_dict("records")
    # Seeds differ by 10 points; the accuracy climbs to 44 % at epoch 44 and starts anew.
    assert row["best"] == pytest.approx(49)
    assert row["best_by_40"] == pytest.approx(45)
    assert row["last"] == pytest.approx(np.mean([40, 41, 42, 43, 44, 0, 1, 2, 3, 4]) + 5)
    assert row["mean"] == pytest.approx(np.mean([epoch % 45 for epoch in range(50)]) + 5)
    assert row["best_std"] == pytest.approx(10 / np.sqrt(2))
    assert (row["seeds"], row["epochs"], row["pure_ratio"]) == (2, 50, 0.5)
    # The first of the two seeds has a class of which nothing is recognised.
    assert row["lost"] == 1


def test_one_line_per_method_with_a_thin_one_per_seed():
    (axes,) = draw_rdia_ls(histories()).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "plain training",
        "RDIA-LS (mnist)",
    ]
    assert len(axes.lines) == 2 * (1 + 2)
    (single,) = draw_rdia_ls(histories(seeds=1)).axes
    assert len(single.lines) == 2


def test_variants_of_one_method_look_different():
    names = ["plain@mnist_80", "rdia_ls@mnist", "rdia_ls@mnist_clean_80", "rdia_ls@mnist_start"]
    found = styles_of(reversed(names))
    assert list(found) == names
    assert len(set(found.values())) == 4
    assert found["rdia_ls@mnist"] == styles_of(["rdia_ls"])["rdia_ls"]
