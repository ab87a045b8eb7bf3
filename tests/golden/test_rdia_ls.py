"""RDIA-LS against the published program: groups, losses, gradients, schedules, label noise."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from glitchtrace.glitches.independent import inject
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import sample_table
from glitchtrace.papers.rdia_ls.methods import by_loss, rdia_ls
from glitchtrace.papers.rdia_ls.schedule import Groups, Schedule

FOLDER = Path(__file__).parent / "rdia"
CASES = json.loads((FOLDER / "ls_noise_multiclass_cases.json").read_text(encoding="utf-8"))
BATCHES = [name for name in CASES if name.startswith("ls_loss_")]
FORMS = {
    "warm-up": ("original", True, "warmup_loss", "warmup_grad"),
    "original": ("original", False, "rdia_loss_original", "rdia_grad_original"),
    "clean": ("clean", False, "rdia_loss_clean", "rdia_grad_clean"),
}
PATTERNS = {"symmetric": "symmetric", "pairflip": "pair_flip"}


def arrays(name):
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def schedule(noise):
    return Schedule(200, 0.001, 80, 0.1, forget_rate=noise, gradual=10, drop_rate=noise / 2, warm_up=10)


@pytest.mark.parametrize("name", BATCHES)
def test_the_groups_of_a_batch(name):
    golden, case = arrays(name), CASES[name]
    order = by_loss(torch.tensor(golden["logits"]), torch.tensor(golden["labels"])).numpy()
    np.testing.assert_array_equal(order, golden["order_by_loss"])
    groups = schedule(case["noise_rate"]).groups(20, case["B"])
    assert (groups.kept, groups.dropped, groups.warm_up) == (case["n_kept"], case["n_discarded"], False)
    last = len(order) - groups.dropped
    for key, rows in (
        ("kept", order[: groups.kept]),
        ("relabelled", order[groups.kept : last]),
        ("discarded", order[last:]),
    ):
        np.testing.assert_array_equal(rows, golden[key])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", BATCHES)
def test_the_loss_of_a_batch_and_its_gradient(name, form):
    golden, case = arrays(name), CASES[name]
    variant, warm_up, value, gradient = FORMS[form]
    logits = torch.tensor(golden["logits"], requires_grad=True)
    groups = Groups(case["n_kept"], case["n_discarded"], warm_up)
    settings = {"loss": variant, "gamma": case["gamma"], "warm_up_divided": True, "ranked_within": "batch"}
    loss, kept = rdia_ls([logits], torch.tensor(golden["labels"]), groups, settings)
    # The published loss subtracts the number of dropped samples, which has no gradient.
    constant = case["n_discarded"] if form == "original" else 0
    assert loss.item() - constant == pytest.approx(case[value], abs=1e-8)
    (found,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(found.numpy(), golden[gradient], rtol=0, atol=1e-8)
    right = golden["clean_flag"][golden["ind"]][kept.numpy()].mean()
    assert right == pytest.approx(case["rdia_pure"], abs=1e-12)


@pytest.mark.parametrize("noise", [0.2, 0.5, 0.8])
def test_the_schedules(noise):
    golden, found = arrays("ls_schedules"), schedule(noise)
    epochs = range(200)
    np.testing.assert_allclose([found.learning_rate_at(e) for e in epochs], golden["lr"], rtol=1e-12)
    np.testing.assert_array_equal([found.beta1_at(e) for e in epochs], golden["beta1"])
    np.testing.assert_allclose(
        [found.forget_rate_at(e) for e in epochs], golden[f"forget_{noise}"], atol=1e-12
    )
    kept = CASES["ls_schedules"]["kept_per_batch128"][str(noise)]
    assert [found.groups(e, 128).kept for e in range(12)] == kept


@pytest.mark.parametrize("name", CASES["noise_k10"]["kinds"])
def test_noise_drawn_sample_by_sample(name):
    golden = arrays("noise_k10")
    pattern, ratio = name.split("_")
    labels = golden["labels"]
    table = sample_table("host", np.arange(len(labels)), labels, labels, labels, Kind.CLEAN)
    found = inject(
        table,
        ratio=float(ratio),
        seed=7,
        classes=10,
        settings={"pattern": PATTERNS[pattern], "noise_seed": 0},
        foreign={},
    )
    np.testing.assert_array_equal(found["label"], golden[name])
    np.testing.assert_array_equal(found["kind"] == Kind.MISLABELLED, golden[name] != labels)
    assert (found["kind"] == Kind.MISLABELLED).mean() == CASES["noise_k10"]["kinds"][name]["actual_noise"]
