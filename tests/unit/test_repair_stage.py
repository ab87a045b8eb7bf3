import subprocess
import sys
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_json, write_npy, write_parquet
from glitchtrace.detectors.evidence import Detection
from glitchtrace.glitches.kinds import Kind
from glitchtrace.repair import proposals
from glitchtrace.repair.asking import asked
from glitchtrace.repair.context import Context, RevealedContext
from glitchtrace.repair.proposals import repair_cell
from glitchtrace.repair.retraining import retrain
from glitchtrace.training.stage import train_cell

POLICIES = ["none", "influence", "random", "oracle"]
MISLABELLED_ROWS = 30


class Cell:
    """A trained cell of the iris data with 30 flipped labels, and signals that find 24 of them."""

    def __init__(self, folder):
        self.folder = folder
        iris = load_iris()
        source = folder / "sources" / "iris"
        write_npy(iris.data.astype(np.float32), source / "features.npy")
        write_npy(iris.target.astype(np.int64), source / "labels.npy")
        write_json(
            {"modality": "table", "classes": list("abc"), "parts": {"all": [0, 150]}}, source / "source.json"
        )
        rows = np.random.default_rng(0).permutation(150)
        parts = np.repeat(["train", "validation", "test"], [90, 20, 40])
        write_parquet(
            pd.DataFrame({"row": rows, "part": parts, "label": iris.target[rows]}), self.path("split.parquet")
        )
        self.write_tables(rows[:90], iris.target[rows[:90]])
        self.inputs = {
            "features": [str(source / "features.npy")],
            "split": self.path("split.parquet"),
            "glitch": self.path("glitch.parquet"),
            "checkpoints": self.path("checkpoints.safetensors"),
        }
        self.options = {
            "dataset": "iris",
            "model": "linear",
            "settings": {"head_seed": 42},
            "training": {"learning_rate": 0.2, "batch_size": 8, "epochs": 8},
            "seed": 0,
            "evaluation_batch": 64,
        }
        outputs = {"factors": self.path("factors.safetensors"), "history": self.path("history.parquet")}
        train_cell(**self.inputs, **outputs, **self.options)

    def path(self, name):
        return str(self.folder / name)

    def write_tables(self, rows, true_labels):
        kinds = np.where(np.arange(len(rows)) < MISLABELLED_ROWS, np.int8(1), np.int8(0))
        labels = np.where(kinds == Kind.MISLABELLED, (true_labels + 1) % 3, true_labels)
        glitch = {"source": "iris", "row": rows, "label": labels, "true_label": true_labels}
        pd.DataFrame({**glitch, "source_label": true_labels, "kind": kinds}).to_parquet(
            self.path("glitch.parquet")
        )
        # The last six flipped samples look clean, six clean ones look flipped.
        suspicious = np.roll(kinds, 6).astype(float)
        proposed = np.where(kinds == Kind.MISLABELLED, true_labels, (true_labels + 1) % 3)
        self.detection = Detection(
            suspicious - 0.001 * np.arange(len(rows)),
            proposed_labels=proposed,
            kinds=np.ones(len(rows), np.int8),
        )

    def repair(self, name="repaired.parquet", policies=POLICIES, glitch="glitch.parquet", seed=0):
        with mock.patch.object(proposals, "detect", return_value=self.detection):
            repair_cell(
                glitch=self.path(glitch),
                repaired=self.path(name),
                policies={policy: {} for policy in policies},
                detectors={name: {} for name in asked({policy: {} for policy in policies})[0]},
                counters=[],
                estimator_settings={},
                seed=seed,
            )
        return pd.read_parquet(self.path(name))

    def retrain(self, repaired="repaired.parquet", gain="gain.parquet", **options):
        retrain(
            **self.inputs, repaired=self.path(repaired), gain=self.path(gain), **{**self.options, **options}
        )
        return pd.read_parquet(self.path(gain)).set_index(["policy", "part"])

    def write_plan(self, name, action, labels=None):
        observed = pd.read_parquet(self.path("glitch.parquet"))["label"].to_numpy()
        action = np.broadcast_to(action, observed.shape)
        labels = observed if labels is None else labels
        table = {"policy": "test", "sample": range(len(observed)), "action": action, "label": labels}
        pd.DataFrame(table).to_parquet(self.path(name))


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    return Cell(tmp_path_factory.mktemp("cell"))


@pytest.fixture(scope="module")
def repaired(cell):
    return cell.repair()


@pytest.fixture(scope="module")
def gain(cell, repaired):
    return cell.retrain()


def test_plans_stand_in_the_order_of_the_policies_for_every_sample(repaired):
    assert list(repaired.columns) == ["policy", "sample", "action", "label"]
    assert repaired["policy"].unique().tolist() == POLICIES
    sizes = repaired.groupby("policy")["sample"].agg(["min", "max", "count"])
    assert (sizes["min"] == 0).all()
    assert (sizes["count"] == sizes["max"] + 1).all()
    counts = repaired.groupby("policy")["action"].value_counts()
    relabelled = {policy: int(counts.get((policy, "relabel"), 0)) for policy in POLICIES}
    assert relabelled == {"none": 0, "influence": 30, "random": 30, "oracle": 30}
    assert "drop" not in set(repaired["action"])


def test_the_same_seed_proposes_the_same_repair_and_another_draws_anew(cell, repaired):
    same, other = cell.repair("same.parquet"), cell.repair("other.parquet", seed=1)
    pd.testing.assert_frame_equal(repaired, same)
    changed = (repaired["action"] != other["action"]).groupby(repaired["policy"]).any()
    assert changed.to_dict() == {"none": False, "influence": False, "random": True, "oracle": False}


def test_only_the_oracle_depends_on_which_samples_are_glitches(cell, repaired):
    table = pd.read_parquet(cell.path("glitch.parquet"))
    order = np.random.default_rng(1).permutation(len(table))
    for column in ("kind", "true_label"):
        table[column] = table[column].to_numpy()[order]
    table.to_parquet(cell.path("permuted.parquet"))
    permuted = cell.repair("blind.parquet", glitch="permuted.parquet")
    for policy in POLICIES:
        before, after = (plans[plans["policy"] == policy] for plans in (repaired, permuted))
        assert before.equals(after) == (policy != "oracle")


def test_only_a_policy_that_reveals_the_truth_is_handed_it(cell, monkeypatch):
    handed = {}
    for policy in POLICIES:
        module = registry.load("policy", policy)

        def propose(context, rng, policy=policy):
            handed[policy] = type(context)
            return np.zeros(len(context.labels), dtype=np.int8), context.labels

        monkeypatch.setattr(module, "propose", propose)
    cell.repair("handed.parquet")
    assert handed == {"none": Context, "influence": Context, "random": Context, "oracle": RevealedContext}


def test_an_unknown_policy_is_named_and_nothing_written(cell):
    with pytest.raises(GlitchtraceError, match="unknown policy 'magic'; known: drop, influence"):
        cell.repair("unknown.parquet", policies=["none", "magic"])
    assert not (cell.folder / "unknown.parquet").exists()


def test_evaluation_and_repair_do_without_torch():
    program = (
        "import sys; from glitchtrace.core import registry;"
        "import glitchtrace.evaluation.stage, glitchtrace.evaluation.comparison;"
        "import glitchtrace.evaluation.summary, glitchtrace.repair.proposals;"
        "[registry.load('policy', name) for name in registry.names('policy')];"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_policy_is_measured_on_validation_and_test(gain):
    expected = [(policy, part) for policy in POLICIES for part in ("validation", "test")]
    assert gain.index.tolist() == expected
    assert list(gain.columns) == ["accuracy", "loss", "relabelled", "dropped"]
    assert gain["accuracy"].between(0, 1).all()
    assert (gain["loss"] > 0).all()
    assert gain.loc["influence", "relabelled"].tolist() == [30, 30]
    assert (gain["dropped"] == 0).all()


def test_repair_by_the_truth_helps_and_influence_helps_more_than_chance(gain):
    loss = gain["loss"].xs("test", level="part")
    assert loss["oracle"] < loss["influence"] < loss["none"] < loss["random"]


def test_each_part_is_measured_on_its_own_samples(cell):
    split = pd.read_parquet(cell.path("split.parquet"))
    other = {"validation": "test", "test": "validation"}
    write_parquet(split.assign(part=split["part"].replace(other)), cell.path("swapped.parquet"))
    cell.write_plan("kept.parquet", "keep")
    one = cell.retrain("kept.parquet", "one.parquet")
    retrain(
        **{**cell.inputs, "split": cell.path("swapped.parquet")},
        **cell.options,
        repaired=cell.path("kept.parquet"),
        gain=cell.path("two.parquet"),
    )
    two = (
        pd.read_parquet(cell.path("two.parquet"))
        .set_index(["policy", "part"])
        .rename(index=other, level="part")
    )
    pd.testing.assert_frame_equal(one.sort_index(), two.sort_index())
    assert one["loss"].nunique() == 2


def test_no_repair_has_the_accuracy_of_the_training_at_hand(cell, gain):
    history = pd.read_parquet(cell.path("history.parquet"))
    last = history[(history["part"] == "validation") & (history["kind"] == "all")].iloc[-1]
    assert gain.loc[("none", "validation"), "accuracy"] == last["accuracy"]
    assert gain.loc[("none", "validation"), "loss"] == pytest.approx(last["loss"], rel=1e-6)


def test_training_anew_without_repair_gives_the_last_checkpoint(cell, gain, monkeypatch):
    from glitchtrace.repair.plans import Plan

    cell.write_plan("none.parquet", "keep")
    monkeypatch.setattr(Plan, "changes_nothing", property(lambda plan: False))
    anew = cell.retrain("none.parquet", "anew.parquet")
    pd.testing.assert_frame_equal(anew.loc["test"], gain.loc["none"])


def test_the_gain_does_not_depend_on_the_other_policies(cell, gain):
    cell.repair("alone.parquet", policies=["oracle"])
    alone = cell.retrain("alone.parquet", "alone-gain.parquet")
    pd.testing.assert_frame_equal(alone, gain.loc[["oracle"]])


def test_perfect_labels_equal_training_on_clean_data(cell, gain):
    table = pd.read_parquet(cell.path("glitch.parquet"))
    labels = table["true_label"].to_numpy()
    action = np.where(labels == table["label"], "keep", "relabel")
    cell.write_plan("clean.parquet", action, labels)
    clean = cell.retrain("clean.parquet", "clean-gain.parquet")
    pd.testing.assert_frame_equal(clean.loc["test"], gain.loc["oracle"])


def test_dropping_a_whole_class_is_an_honest_result(cell):
    observed = pd.read_parquet(cell.path("glitch.parquet"))["label"].to_numpy()
    cell.write_plan("class.parquet", np.where(observed == 1, "drop", "keep"))
    found = cell.retrain("class.parquet", "class-gain.parquet").loc[("test", "test")]
    assert found["dropped"] == (observed == 1).sum()
    assert found["relabelled"] == 0
    # A third of the test samples belongs to a class that the network has never seen.
    assert found["accuracy"] < 0.7


def test_dropping_everything_is_refused(cell):
    cell.write_plan("all.parquet", "drop")
    with pytest.raises(GlitchtraceError, match=r"all\.parquet: policy 'test' drops all \d+ samples"):
        cell.retrain("all.parquet", "all-gain.parquet")
    assert not (cell.folder / "all-gain.parquet").exists()


def test_plans_for_other_samples_are_refused(cell):
    cell.write_plan("short.parquet", "keep")
    pd.read_parquet(cell.path("short.parquet")).iloc[1:].to_parquet(cell.path("short.parquet"))
    with pytest.raises(
        GlitchtraceError, match=r"short\.parquet: policy 'test' is for \d+ samples, the cell has"
    ):
        cell.retrain("short.parquet", "short-gain.parquet")


def test_a_dropped_sample_has_no_part_in_training(cell):
    observed = pd.read_parquet(cell.path("glitch.parquet"))["label"].to_numpy()
    drop = np.arange(len(observed)) < MISLABELLED_ROWS
    action = np.where(drop, "drop", "keep")
    cell.write_plan("drop.parquet", action)
    cell.write_plan("drop-other.parquet", action, np.where(drop, (observed + 1) % 3, observed))
    first = cell.retrain("drop.parquet", "drop-gain.parquet")
    second = cell.retrain("drop-other.parquet", "drop-other-gain.parquet")
    pd.testing.assert_frame_equal(first, second)
