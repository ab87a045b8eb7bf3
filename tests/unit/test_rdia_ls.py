"""RDIA-LS: losses, optimiser, training loop, cells, and the stage from files to files."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_json, write_npy, write_parquet
from glitchtrace.glitches.independent import inject, transition_matrix
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import sample_table
from glitchtrace.models.convnets import build_nine_layer_cnn
from glitchtrace.papers.rdia.relabelling import relabelled_loss as reference_loss
from glitchtrace.papers.rdia_ls.cells import cells
from glitchtrace.papers.rdia_ls.methods import (
    CARDS,
    bounded_kept_loss,
    by_loss,
    by_loss_within_labels,
    coteaching,
    kept_loss,
    plain,
    rdia_ls,
    relabelled_loss,
    small_loss,
)
from glitchtrace.papers.rdia_ls.schedule import Groups, Schedule
from glitchtrace.papers.rdia_ls.stage import schedule, train_selection
from glitchtrace.papers.rdia_ls.training import Part, accuracies, fit
from glitchtrace.training.optimisers import Adam, ArrayAdam

ORIGINAL = {"loss": "original", "gamma": 0.2, "warm_up_divided": True, "ranked_within": "batch"}
SCHEDULE = Schedule(4, 0.01, 80, 0.1, forget_rate=0.5, gradual=2, drop_rate=0.25, warm_up=2)


def batch(samples=16, classes=5, seed=0):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, classes, generator=draws, dtype=torch.float64)
    return logits, torch.randint(classes, (samples,), generator=draws)


# --- losses ---------------------------------------------------------------------------------------------------------


def test_samples_are_ordered_by_loss_and_equal_ones_keep_their_order():
    logits, labels = torch.zeros(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    assert by_loss(logits, labels).tolist() == list(range(6))
    logits[4, 1] = 5.0
    assert by_loss(logits, labels).tolist() == [4, 0, 1, 2, 3, 5]


@pytest.mark.parametrize("seed", range(5))
def test_ranked_within_labels_every_label_keeps_its_share(seed):
    logits, labels = batch(60, 4, seed)
    logits[:, 2] -= 30  # a class that the network has lost
    order = by_loss_within_labels(logits, labels)
    assert sorted(order.tolist()) == list(range(60))
    for label, members in enumerate(labels.bincount()):
        own = order[labels[order] == label]
        assert own.tolist() == [row for row in by_loss(logits, labels).tolist() if labels[row] == label]
        for kept in (6, 15, 40):
            taken = (labels[order[:kept]] == label).sum().item()
            assert abs(taken - kept * members / 60) <= 1
    assert (labels[by_loss(logits, labels)[:40]] != 2).all()


def test_a_label_of_one_sample_stands_in_the_middle_of_the_order():
    # Places 1/2 of 1, and 1/4 and 3/4 of 2: without the half, 1 of 1 would tie with 2 of 2.
    labels = torch.tensor([1, 1, 0])
    logits = torch.zeros(3, 2)
    logits[0, 1], logits[1, 1], logits[2, 0] = 5.0, 3.0, 1.0
    assert by_loss(logits, labels).tolist() == [0, 1, 2]
    assert by_loss_within_labels(logits, labels).tolist() == [0, 2, 1]


def test_ranked_within_one_label_is_ranked_within_the_batch():
    logits, _ = batch()
    labels = torch.full((16,), 3)
    assert by_loss_within_labels(logits, labels).tolist() == by_loss(logits, labels).tolist()


@pytest.mark.parametrize("warm_up", [True, False])
@pytest.mark.parametrize("within", ["batch", "label", "label_in_warm_up"])
def test_the_option_says_among_which_samples_losses_are_ranked(within, warm_up):
    logits, labels = batch(64)
    _, kept = rdia_ls([logits], labels, Groups(10, 10, warm_up), {**ORIGINAL, "ranked_within": within})
    by_label = within == "label" or (within == "label_in_warm_up" and warm_up)
    order, other = by_loss_within_labels(logits, labels), by_loss(logits, labels)
    assert kept.tolist() == (order if by_label else other)[:10].tolist()
    assert order[:10].tolist() != other[:10].tolist()


def test_the_relabelled_loss_is_that_of_the_relabelling_function():
    logits, labels = batch()
    expected = reference_loss(logits.softmax(dim=1).numpy(), labels.numpy()).mean()
    assert relabelled_loss(logits, labels, torch.arange(16)).item() == pytest.approx(expected, rel=1e-12)


def test_a_certain_sample_has_a_finite_relabelled_loss():
    logits = torch.tensor([[80.0, 0.0]])
    assert relabelled_loss(logits, torch.tensor([0]), torch.arange(1)).item() == pytest.approx(
        -math.log(1e-7), rel=1e-6
    )


@pytest.mark.parametrize(
    ("label", "bound"), [(0, math.log(1 + 9 / math.e)), (1, math.log(math.e + 9))], ids=["right", "wrong"]
)
def test_softmax_twice_bounds_the_loss(label, bound):
    certain = torch.tensor([[40.0] + [0.0] * 9])
    found = bounded_kept_loss(certain, torch.tensor([label]), torch.arange(1))
    assert found.item() == pytest.approx(bound, rel=1e-5)


@pytest.mark.parametrize("loss", ["original", "clean"])
@pytest.mark.parametrize(("keep", "drop"), [(4, 12), (16, 0), (4, 0), (8, 10)])
def test_an_empty_or_overlapping_group_contributes_nothing_and_no_nan(loss, keep, drop):
    groups = Groups(keep, drop, warm_up=False)
    logits, labels = batch()
    logits.requires_grad_()
    value, kept = rdia_ls([logits], labels, groups, {**ORIGINAL, "loss": loss})
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient.isfinite().all()
    order = by_loss(logits, labels)
    assert kept.tolist() == order[: groups.kept].tolist()
    middle = order[groups.kept : 16 - groups.dropped]
    touched = set(kept.tolist()) | set(middle.tolist())
    assert set(gradient.abs().sum(dim=1).nonzero().ravel().tolist()) == touched


def test_the_small_loss_rule_is_the_warm_up_of_the_clean_form_and_of_the_undivided_one():
    logits, labels = batch()
    groups = Groups(6, 4, warm_up=True)
    expected = cross_entropy(logits, labels, reduction="none").sort().values[:6].mean()
    clean, undivided = {**ORIGINAL, "loss": "clean"}, {**ORIGINAL, "warm_up_divided": False}
    for module, settings in ((small_loss, {}), (rdia_ls, clean), (rdia_ls, undivided)):
        value, kept = module([logits], labels, groups, settings)
        assert value.item() == pytest.approx(expected.item(), rel=1e-12)
        assert len(kept) == 6


def test_each_of_two_networks_learns_from_the_choice_of_the_other():
    (first, labels), (second, _) = batch(seed=1), batch(seed=2)
    value, kept = coteaching([first, second], labels, Groups(5, 0, False), {})
    by_first, by_second = (by_loss(logits, labels)[:5] for logits in (first, second))
    expected = kept_loss(first, labels, by_second) + kept_loss(second, labels, by_first)
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    assert kept.tolist() == by_first.tolist()


def test_plain_training_takes_every_sample():
    logits, labels = batch()
    value, kept = plain([logits], labels, Groups(3, 3, False), {})
    assert value.item() == pytest.approx(cross_entropy(logits, labels).item())
    assert kept.tolist() == list(range(16))


# --- schedule and optimiser ---------------------------------------------------------------------------------------


def test_a_batch_of_which_nothing_would_be_kept_is_kept_whole():
    assert Schedule(9, 0.1, 5, 0.1, 1.0, 1, 0.0, 0).groups(3, 8) == Groups(8, 0, warm_up=False)


def test_a_null_rate_follows_the_noise():
    settings = {key: value["default"] for key, value in CARDS["rdia_ls"]["settings"].items()}
    common = {
        "epochs": 200,
        "learning_rate": 0.001,
        "decay_start": 80,
        "late_beta1": 0.1,
        "gradual_epochs": 10,
    }
    found = schedule({**settings, **common, "forget_rate": None}, 0.8)
    assert (found.forget_rate, found.drop_rate, found.warm_up) == (0.8, 0.4, 10)
    found = schedule({**settings, **common, "forget_rate": 0.35, "drop_rate": 0.1}, 0.8)
    assert (found.forget_rate, found.drop_rate) == (0.35, 0.1)
    assert schedule({**settings, **common, "forget_rate": None}, 0.0).groups(50, 128) == Groups(128, 0, False)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_adam_steps_as_torch_does(weight_decay):
    ours, theirs = (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    rate, betas = 0.01, (0.9, 0.999)
    oracle = torch.optim.Adam(theirs.parameters(), lr=rate, betas=betas, weight_decay=weight_decay)
    optimiser = Adam([ours], weight_decay)
    x, y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    for step in range(12):
        beta1 = 0.9 if step < 6 else 0.1
        optimiser.step(torch.autograd.grad(cross_entropy(ours(x), y), optimiser.parameters), rate, beta1)
        oracle.zero_grad()
        cross_entropy(theirs(x), y).backward()
        oracle.param_groups[0]["betas"] = (beta1, 0.999)
        oracle.step()
    for mine, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)
    assert optimiser.finite()


def test_adam_of_an_array_takes_the_same_steps_as_adam_of_a_network():
    module = nn.Linear(5, 3).double()
    values = torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy().copy()
    optimiser, other = Adam([module]), ArrayAdam(len(values), values.dtype, rate=0.02)
    rng = np.random.default_rng(0)
    for step in range(400):
        gradient = rng.standard_normal(len(values))
        optimiser.step([torch.from_numpy(gradient.copy())], 0.02)
        other.update(values, gradient)
        if step == 200:
            twin = other.copy()
    found = torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy()
    np.testing.assert_allclose(values, found, rtol=1e-9, atol=1e-11)
    assert (twin.steps, other.steps) == (201, 400)


def test_a_factor_of_the_loss_acts_as_a_weight_decay_that_is_as_many_times_stronger():
    torch.manual_seed(0)
    models = [nn.Linear(6, 4) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimisers = [Adam([models[0]], 1e-3), Adam([models[1]], 1e-1)]
    for _ in range(20):
        x, y = torch.randn(8, 6), torch.randint(4, (8,))
        for model, optimiser, divisor in zip(models, optimisers, (100, 1), strict=True):
            loss = cross_entropy(model(x), y) / divisor
            optimiser.step(torch.autograd.grad(loss, optimiser.parameters), 0.01, 0.9)
    torch.testing.assert_close(models[0].weight, models[1].weight, rtol=1e-3, atol=1e-4)


# --- the training loop ----------------------------------------------------------------------------------------------


def parts(samples=96, noise=0.3):
    """Two separable clusters as bytes, with wrong labels; clean test samples."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, samples)
    pixels = np.clip(rng.normal(60 + 130 * labels[:, None], 30, (samples, 6)), 0, 255).astype(np.uint8)
    wrong = rng.random(samples) < noise
    inputs, observed = torch.from_numpy(pixels), torch.from_numpy(np.where(wrong, 1 - labels, labels))
    return Part(inputs, observed), ~wrong, Part(inputs, torch.from_numpy(labels))


def run(module=rdia_ls, networks=1, seed=0, schedule_of=SCHEDULE, size=16, **changes):
    train, clean, test = parts()
    torch.manual_seed(1)
    models = [nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)) for _ in range(networks)]
    table = fit(
        models,
        train,
        clean,
        {"test": test, "empty": Part(test.inputs[:0], test.labels[:0])},
        loss=module,
        settings=ORIGINAL,
        schedule=schedule_of,
        batch_size=size,
        weight_decay=0.0,
        seed=seed,
        **changes,
    )
    return table, models


def test_one_row_per_epoch_from_the_untrained_network_on():
    table, models = run()
    assert table["epoch"].tolist() == [0, 1, 2, 3]
    assert table["forget_rate"].tolist()[1:] == [0.5, 0.5, 0.5]
    assert table.loc[0, ["learning_rate", "loss", "pure_ratio"]].isna().all()
    assert table[["empty_accuracy", "empty_worst_class_accuracy"]].isna().all(axis=None)
    _, _, test = parts()
    measured = table[["test_accuracy", "test_worst_class_accuracy"]].iloc[-1].tolist()
    assert measured == list(accuracies(models[0], test))


def test_the_same_seed_gives_the_same_bits_and_another_another_order():
    first, again, other = run()[0], run()[0], run(seed=1)[0]
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert not first.equals(other)


def test_small_losses_are_purer_than_the_batch():
    table, _ = run(small_loss, schedule_of=Schedule(20, 0.01, 80, 0.1, 0.4, 10, 0.0, 0))
    assert table["pure_ratio"].iloc[-1] > 0.75
    assert run(plain)[0]["pure_ratio"].iloc[-1] == pytest.approx(parts()[1].mean())


def test_two_networks_report_their_mean_accuracy():
    table, models = run(coteaching, networks=2)
    _, _, test = parts()
    expected = np.mean([accuracies(model, test)[0] for model in models])
    assert table["test_accuracy"].iloc[-1] == expected


def test_the_worst_class_is_that_of_the_smallest_share_among_those_with_samples():
    # The network repeats its input; class 1 has no sample, and class 3 is never hit.
    predicted, labels = torch.tensor([0, 0, 2, 0, 2, 2]), torch.tensor([0, 0, 0, 2, 2, 3])
    part = Part(torch.eye(4)[predicted], labels)
    assert accuracies(nn.Identity(), part) == (0.5, 0.0)
    assert accuracies(nn.Identity(), Part(part.inputs[:5], labels[:5])) == (0.6, 0.5)


def test_each_held_out_part_is_measured_on_its_own_samples():
    train, clean, test = parts()
    torch.manual_seed(1)
    models = [nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))]
    flipped = Part(test.inputs[:40], 1 - test.labels[:40])
    table = fit(
        models,
        train,
        clean,
        {"validation": Part(test.inputs[:40], test.labels[:40]), "test": flipped},
        loss=plain,
        settings={},
        schedule=SCHEDULE,
        batch_size=16,
        weight_decay=0.0,
        seed=0,
    )
    np.testing.assert_allclose(table["validation_accuracy"] + table["test_accuracy"], 1.0)
    assert (table["validation_accuracy"] != table["test_accuracy"]).any()


def test_the_incomplete_batch_is_left_out():
    calls = []

    def counting(logits, labels, groups, settings):
        calls.append(len(labels))
        return plain(logits, labels, groups, settings)

    run(counting, size=40)
    assert calls == [40, 40] * 3


def test_too_few_samples_and_a_diverged_training_are_one_line():
    with pytest.raises(GlitchtraceError, match="96 training samples are fewer than one batch of 128"):
        run(size=128)
    with pytest.raises(
        GlitchtraceError, match=r"diverged in epoch 1 at learning rate 1e\+30; lower learning_rate"
    ):
        run(plain, schedule_of=Schedule(3, 1e30, 80, 0.1, 0.0, 1, 0.0, 0))


# --- noise ----------------------------------------------------------------------------------------------------------


def table_of(labels):
    return sample_table("host", np.arange(len(labels)), labels, labels, labels, Kind.CLEAN)


@pytest.mark.parametrize("pattern", ["symmetric", "pair_flip"])
def test_the_transition_matrix_is_row_stochastic_with_the_ratio_off_the_diagonal(pattern):
    matrix = transition_matrix(pattern, 0.3, 4)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(np.diag(matrix), 0.7)
    if pattern == "pair_flip":
        np.testing.assert_allclose(matrix[np.arange(4), [1, 2, 3, 0]], 0.3)


def test_the_noise_has_a_seed_of_its_own_unless_it_is_null():
    labels = np.arange(500) % 5

    def noisy(seed, noise_seed):
        settings = {"pattern": "symmetric", "noise_seed": noise_seed}
        found = inject(table_of(labels), ratio=0.5, seed=seed, classes=5, settings=settings, foreign={})
        return found["label"].tolist()

    assert noisy(1, 0) == noisy(2, 0)
    assert noisy(1, None) != noisy(2, None)
    assert noisy(3, None) == noisy(0, 3)


def test_the_noise_of_a_sample_does_not_depend_on_its_place_in_the_table():
    settings = {"pattern": "symmetric", "noise_seed": 0}
    table = table_of(np.arange(500) % 5)
    shuffled = table.iloc[np.random.default_rng(0).permutation(500)].reset_index(drop=True)
    first, second = (
        inject(rows, ratio=0.5, seed=0, classes=5, settings=settings, foreign={}).set_index("row")
        for rows in (table, shuffled)
    )
    assert first.sort_index().equals(second.sort_index())


def test_noise_that_changes_nothing_is_refused():
    settings = {"pattern": "symmetric", "noise_seed": 0}
    with pytest.raises(GlitchtraceError, match="changes 0 of 3 labels"):
        inject(table_of(np.arange(3)), ratio=0.0001, seed=0, classes=3, settings=settings, foreign={})


# --- the network ----------------------------------------------------------------------------------------------------


def test_the_convolutional_network_has_the_published_layers():
    network = build_nine_layer_cnn((3, 32, 32), 100, {"head_seed": 0})
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 64, 128, 128, 196, 196]
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(3136, 256), (256, 100)]
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 100)
    assert len(network.trained) == len(list(network.parameters()))
    again = build_nine_layer_cnn((3, 32, 32), 100, {"head_seed": 0})
    torch.testing.assert_close(network.head.weight, again.head.weight)
    with pytest.raises(GlitchtraceError, match="pictures of 32 × 32"):
        build_nine_layer_cnn((1, 28, 28), 10, {"head_seed": 0})


# --- cells and stage ------------------------------------------------------------------------------------------------

BLOCK = {"datasets": ["mnist"], "models": ["mlp"], "glitches": ["independent"], "ratios": [0.8], "seeds": [0]}


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        (
            {"models": ["nine_layer_cnn"], "datasets": ["wine"]},
            {},
            r"rdia_ls\[0\]: model nine_layer_cnn takes image",
        ),
        (
            {},
            {
                "selection": {"rdia_ls": {"gamma": None}},
                "dataset": {"mnist": {"validation_source": "none"}},
            },
            r"gamma is null: dataset mnist has no validation rows.*or give gamma",
        ),
        (
            {"glitches": ["mixture"], "ratios": ["native"]},
            {
                "glitch": {"mixture": {"steps": [{"glitch": "uniform", "ratio": 0.1}]}},
                "selection": {"rdia_ls": {}},
            },
            "set selections.rdia_ls.forget_rate",
        ),
    ],
)
def test_illegal_cells_are_refused(changes, settings, message):
    with pytest.raises(GlitchtraceError, match=message):
        cells([{**BLOCK, "selections": ["rdia_ls"], **changes}], settings)


def test_a_cell_without_validation_rows_is_legal_with_a_given_gamma():
    settings = {"dataset": {"mnist": {"validation_source": "none"}}, "selection": {"rdia_ls": {"gamma": 0.2}}}
    (cell,) = cells([{**BLOCK, "selections": ["rdia_ls"]}], settings)
    assert cell["selection"] == "rdia_ls"
    assert cell["ratio"] == "0.8"


SETTINGS = {
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 0.01,
    "decay_start": 80,
    "late_beta1": 0.1,
    "weight_decay": 0.0,
    "forget_rate": None,
    "gradual_epochs": 2,
    **{key: fragment["default"] for key, fragment in CARDS["rdia_ls"]["settings"].items()},
    "warm_up": 1,
}


@pytest.fixture
def files(tmp_path):
    """The files of a cell of small pictures of two classes, 40 % of whose labels are wrong."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 160)
    pixels = np.clip(rng.normal(60 + 130 * labels[:, None, None], 30, (160, 3, 2)), 0, 255).astype(np.uint8)
    source = tmp_path / "sources" / "made"
    write_npy(pixels, source / "features.npy")
    write_npy(labels, source / "labels.npy")
    write_json(
        {"classes": ["a", "b"], "parts": {"all": [0, 160]}, "modality": "image"}, source / "source.json"
    )
    split = pd.DataFrame(
        {
            "row": np.arange(160),
            "part": np.repeat(["train", "validation", "test"], [96, 24, 40]),
            "label": labels,
        }
    )
    write_parquet(split, tmp_path / "split.parquet")
    wrong = rng.random(96) < 0.4
    table = pd.DataFrame({"source": "made", "row": np.arange(96), "true_label": labels[:96]})
    write_parquet(
        table.assign(label=np.where(wrong, 1 - labels[:96], labels[:96])), tmp_path / "glitch.parquet"
    )
    return {
        "features": [str(source / "features.npy")],
        "split": str(tmp_path / "split.parquet"),
        "glitch": str(tmp_path / "glitch.parquet"),
        "history": str(tmp_path / "history.parquet"),
        "model": "mlp",
        "model_settings": {"hidden": [8], "head_seed": 42},
        "ratio": "0.4",
    }


def history(files, selection="rdia_ls", seed=0, **changes):
    train_selection(**files, selection=selection, settings={**SETTINGS, **changes}, seed=seed)
    return pd.read_parquet(files["history"])


@pytest.mark.parametrize("selection", registry.names("selection"))
def test_every_method_trains_from_files(files, selection):
    found = history(files, selection)
    assert found["epoch"].tolist() == [0, 1, 2]
    assert found["test_accuracy"].between(0, 1).all()
    assert found["validation_accuracy"].notna().all()
    assert history(files, selection, seed=1)["loss"].iloc[1] != found["loss"].iloc[1]


def test_each_part_of_the_files_is_measured_on_its_own_samples(files):
    one = history(files, gamma=0.2)
    split = pd.read_parquet(files["split"])
    other = {"validation": "test", "test": "validation"}
    write_parquet(split.assign(part=split["part"].replace(other)), files["split"])
    two = history(files, gamma=0.2)
    for column in ("accuracy", "worst_class_accuracy"):
        assert (one[f"test_{column}"] == two[f"validation_{column}"]).all()
        assert (one[f"validation_{column}"] == two[f"test_{column}"]).all()
    assert (one["test_accuracy"] != one["validation_accuracy"]).any()


def test_samples_are_those_of_the_cell_as_every_other_system_sees_them(files):
    """Validation labels as observed, training pictures as corrupted."""
    one = history(files)
    split, table = pd.read_parquet(files["split"]), pd.read_parquet(files["glitch"])
    write_parquet(split.assign(label=1 - split["label"]), files["split"])
    dirty = history(files)
    np.testing.assert_allclose(dirty["validation_accuracy"], 1 - one["validation_accuracy"])
    pd.testing.assert_frame_equal(dirty[["loss", "test_accuracy"]], one[["loss", "test_accuracy"]])
    write_parquet(table.assign(corruption="contrast", severity=np.int8(5)), files["glitch"])
    assert history(files)["loss"].iloc[1] != one["loss"].iloc[1]


def test_gamma_is_chosen_by_the_validation_accuracy(files):
    alone = {gamma: history(files, gamma=gamma) for gamma in (0.05, 0.9)}
    chosen = history(files, gamma=None, gammas=[0.05, 0.9])
    scores = {gamma: table["validation_accuracy"].mean() for gamma, table in alone.items()}
    best = max(scores, key=scores.get)
    pd.testing.assert_frame_equal(chosen, alone[best])
    assert set(chosen["gamma"]) == {best}


def test_gamma_cannot_be_chosen_without_validation_samples(files):
    split = pd.read_parquet(files["split"])
    write_parquet(split[split["part"] != "validation"], files["split"])
    with pytest.raises(GlitchtraceError, match=r"gamma is null, but the split has no validation samples"):
        history(files, gamma=None)
    assert history(files, gamma=0.2)["validation_accuracy"].isna().all()
