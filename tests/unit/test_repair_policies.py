from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.evidence import Detection
from glitchtrace.detectors.number import Number
from glitchtrace.glitches.kinds import Kind
from glitchtrace.repair.actions import Action, resolve
from glitchtrace.repair.asking import asked, check_baseline
from glitchtrace.repair.context import Context, RevealedContext
from glitchtrace.repair.context import make_context as context_of
from glitchtrace.repair.plans import Plan
from glitchtrace.repair.policies import by_detector, influence, none, oracle, random

CLEAN, MISLABELLED, ANOMALOUS, CORRUPTED, NEAR_DUPLICATE = Kind


def make_context(kinds, seed=0, classes=4, **columns):
    """Random scores and labels for samples of the given kinds."""
    rng = np.random.default_rng(seed)
    kinds = np.asarray(kinds, dtype=np.int8)
    size = len(kinds)
    labels = rng.integers(classes, size=size)
    true_labels = np.where(kinds == MISLABELLED, (labels + 1) % classes, labels)
    fields = {"labels": labels}
    proposed = columns.pop("proposed_labels", rng.integers(classes, size=size))
    verdicts = rng.integers(1, 3, size=size).astype(np.int8)
    scores = columns.pop("scores", {name: rng.normal(size=size) for name in ("CNCI", "PCID", "CFRank")})
    fields |= {
        "detections": {
            name: Detection(values, proposed_labels=proposed, kinds=verdicts)
            for name, values in scores.items()
        },
        "numbers": {"loss_mixture": Number(2.6, 1.0, 4.0)},
        "mislabelled": int((kinds == MISLABELLED).sum()),
        "anomalous": int((kinds > MISLABELLED).sum()),
        "kinds": kinds,
        "true_labels": np.where(kinds == ANOMALOUS, -1, true_labels),
    }
    return RevealedContext(**{**fields, **columns})


KINDS = st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=30)


def test_every_policy_is_registered_with_a_summary():
    assert registry.chosen("policy", "default") == ["influence", "none", "oracle", "random"]
    assert all(registry.card("policy", name)["summary"] for name in registry.names("policy"))
    revealing = [
        name for name in registry.names("policy") if registry.card("policy", name).get("reveals_truth")
    ]
    assert revealing == ["oracle"]


def test_a_context_without_truth_has_no_marks_and_no_true_labels():
    hidden = make_context([CLEAN, MISLABELLED, ANOMALOUS]).without_truth()
    assert type(hidden) is Context
    assert not hasattr(hidden, "kinds")
    assert not hasattr(hidden, "true_labels")


def test_relabelling_to_the_observed_label_keeps_the_sample():
    labels, new = np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2])
    relabel = np.array([True, True, False, False])
    drop = np.array([False, False, False, True])
    actions, repaired = resolve(labels, new, relabel, drop)
    assert actions.tolist() == [Action.KEEP, Action.RELABEL, Action.KEEP, Action.DROP]
    assert repaired.tolist() == [1, 2, 2, 2]
    assert relabel.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "no pair of 3 actions and 3 labels"),
        ((np.zeros(2, int), np.zeros(3, int)), "no pair of 3"),
        ((np.zeros(3, int), np.zeros(3)), "no pair of 3"),
        ((np.full(3, 7), np.zeros(3, int)), "an action that there is not"),
    ],
)
def test_an_answer_that_is_no_plan_is_one_line(answer, message):
    with pytest.raises(GlitchtraceError, match=message):
        Plan.of_answer(answer, 3)


def test_none_keeps_everything():
    context = make_context([CLEAN, MISLABELLED, ANOMALOUS])
    actions, labels = none.propose(context.without_truth(), np.random.default_rng(0))
    assert (actions == Action.KEEP).all()
    assert labels.tolist() == context.labels.tolist()


def top(scores, count):
    return set(sorted(range(len(scores)), key=lambda index: (-scores[index], index))[:count])


@given(KINDS, st.integers(0, 2**16))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_influence_follows_the_known_ratio_protocol(kinds, seed):
    context = make_context(kinds, seed)
    actions, labels = influence.propose(context.without_truth(), np.random.default_rng(0))
    for index in range(len(kinds)):
        if context.mislabelled and context.anomalous:
            chosen = index in top(context.score("CFRank"), context.mislabelled + context.anomalous)
            relabelled = chosen and context.detection("CFRank").kinds[index] == MISLABELLED
            dropped = chosen and not relabelled
        else:
            relabelled = index in top(context.score("CNCI"), context.mislabelled)
            dropped = index in top(context.score("PCID"), context.anomalous)
        changed = relabelled and context.proposed_labels("CNCI")[index] != context.labels[index]
        expected = Action.RELABEL if changed else Action.DROP if dropped else Action.KEEP
        assert actions[index] == expected
        assert labels[index] == (context.proposed_labels("CNCI") if changed else context.labels)[index]


def test_influence_breaks_ties_by_the_lower_index():
    scores = {"CNCI": np.zeros(6)}
    context = make_context([CLEAN] * 4 + [MISLABELLED] * 2, scores=scores, proposed_labels=np.full(6, 9))
    actions, _ = influence.propose(context.without_truth(), np.random.default_rng(0))
    assert np.flatnonzero(actions).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("kinds", "needed"),
    [([CLEAN, MISLABELLED], "CNCI"), ([CLEAN, ANOMALOUS], "PCID"), ([MISLABELLED, CORRUPTED], "CFRank")],
)
def test_a_detector_that_the_card_does_not_name_is_named(kinds, needed):
    context = make_context(kinds, scores={"SI": np.zeros(2)})
    with pytest.raises(GlitchtraceError, match=f"detector '{needed}'; name it in the card"):
        influence.propose(context.without_truth(), np.random.default_rng(0))


@given(KINDS, st.integers(0, 2**16))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_random_does_as_much_as_influence(kinds, seed):
    context = make_context(kinds, seed)
    hidden = context.without_truth()
    actions, labels = random.propose(hidden, np.random.default_rng(seed))
    reference, _ = influence.propose(hidden, np.random.default_rng(seed))
    assert np.bincount(actions, minlength=3).tolist() == np.bincount(reference, minlength=3).tolist()
    relabelled = actions == Action.RELABEL
    assert (labels[relabelled] == context.proposed_labels("CNCI")[relabelled]).all()
    assert (labels[~relabelled] == context.labels[~relabelled]).all()


def test_random_draws_uniformly_and_from_its_generator_alone():
    context = make_context([CLEAN] * 15 + [MISLABELLED] * 5, proposed_labels=np.full(20, 9)).without_truth()
    drawn = np.zeros(20)
    for seed in range(400):
        actions, _ = random.propose(context, np.random.default_rng(seed))
        again, _ = random.propose(context, np.random.default_rng(seed))
        assert actions.tolist() == again.tolist()
        drawn += actions == Action.RELABEL
    # Each sample is drawn with probability 5/20; 400 draws have a standard deviation of 8.7.
    assert drawn.sum() == 400 * 5
    assert np.abs(drawn - 100).max() < 5 * 8.7


@given(KINDS, st.integers(0, 2**16))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_the_oracle_leaves_clean_data(kinds, seed):
    context = make_context(kinds, seed)
    actions, labels = oracle.propose(context, np.random.default_rng(0))
    kept = actions != Action.DROP
    assert kept.tolist() == [kind in (CLEAN, MISLABELLED) for kind in kinds]
    assert (labels[kept] == context.true_labels[kept]).all()
    assert ((actions == Action.RELABEL) == (context.kinds == MISLABELLED)).all()


def test_the_oracle_keeps_a_marked_sample_whose_label_is_right():
    context = make_context([MISLABELLED], labels=np.array([2]), true_labels=np.array([2]))
    actions, labels = oracle.propose(context, np.random.default_rng(0))
    assert (actions[0], labels[0]) == (Action.KEEP, 2)


def test_the_context_counts_what_is_to_be_relabelled_and_dropped():
    kinds = np.array([CLEAN, MISLABELLED, ANOMALOUS, CORRUPTED, NEAR_DUPLICATE], dtype=np.int8)
    samples = pd.DataFrame({"label": [0, 1, 2, 0, 1], "true_label": [0, 2, -1, 0, 1], "kind": kinds})
    said = Detection(np.arange(5), proposed_labels=np.array([0, 2, 2, 1, 1]))
    context = context_of(samples, {"SI": said}, {})
    assert (context.mislabelled, context.anomalous) == (1, 3)
    assert context.score("SI").dtype == np.float64
    assert context.proposed_labels("SI").tolist() == [0, 2, 2, 1, 1]
    assert context.true_labels.tolist() == [0, 2, -1, 0, 1]


def test_repair_by_a_detector_that_proposes_nothing_is_refused():
    context = make_context([CLEAN], scores={"SI": np.zeros(1)})
    bare = replace(context, detections={"SI": Detection(np.zeros(1))})
    with pytest.raises(GlitchtraceError, match="'SI' proposes no labels"):
        bare.proposed_labels("SI")


@pytest.mark.parametrize(
    ("number", "flagged"),
    [({"number": "known"}, 3), ({"number": "estimated"}, 3), ({"number": "share", "share": 0.4}, 4)],
)
def test_relabel_is_sure_or_leaves_the_sample(number, flagged):
    settings = {
        "detector": "mine",
        "counter": "loss_mixture",
        "share": 0.1,
        "confidence": 0.6,
        "otherwise": "keep",
    }
    settings |= number
    said = Detection(
        np.arange(10.0), proposed_labels=np.full(10, 9), confidence=np.where(np.arange(10) % 2, 0.9, 0.5)
    )
    context = replace(make_context([CLEAN] * 7 + [MISLABELLED] * 2 + [ANOMALOUS]), detections={"mine": said})
    hidden, rng = context.without_truth(), np.random.default_rng(0)
    top_rows = np.arange(10)[::-1][:flagged]
    relabelled = sorted(row for row in top_rows if row % 2)
    actions, labels = by_detector.COMPONENTS["relabel"].propose(hidden, rng, **settings)
    assert np.flatnonzero(actions == Action.RELABEL).tolist() == relabelled
    assert (labels[relabelled] == 9).all()
    assert not (actions == Action.DROP).any()
    actions, _ = by_detector.COMPONENTS["relabel"].propose(hidden, rng, **{**settings, "otherwise": "drop"})
    assert np.flatnonzero(actions == Action.DROP).tolist() == sorted(set(top_rows) - set(relabelled))
    dropping = {key: settings[key] for key in ("detector", "number", "counter", "share")}
    actions, labels = by_detector.COMPONENTS["drop"].propose(hidden, rng, **dropping)
    assert np.flatnonzero(actions == Action.DROP).tolist() == sorted(top_rows)
    assert labels.tolist() == context.labels.tolist()


@pytest.mark.parametrize(("share", "flagged"), [(0.29, 29), (0.155, 15), (0.999, 99)])
def test_a_flagged_share_is_rounded_as_every_share(share, flagged):
    context = make_context([CLEAN] * 100, scores={"SI": np.arange(100.0)})
    settings = {"detector": "SI", "number": "share", "counter": "loss_mixture", "share": share}
    actions, _ = by_detector.COMPONENTS["drop"].propose(context, np.random.default_rng(0), **settings)
    assert int((actions == Action.DROP).sum()) == flagged


def test_policies_without_the_baseline_are_refused():
    check_baseline(["none", "oracle"])
    with pytest.raises(GlitchtraceError, match=r"policies: .*write \[none, oracle\], or set repair: false"):
        check_baseline(["oracle"])


def test_what_policies_ask_follows_from_cards_and_settings():
    policies = {
        "influence": {},
        "none": {},
        "drop@knn": {"detector": "knn_vote", "number": "known", "counter": "x"},
    }
    assert asked(policies) == (["CFRank", "CNCI", "PCID", "knn_vote"], [])
    estimated = {"relabel": {"detector": "AUM", "number": "estimated", "counter": "confident_joint"}}
    assert asked(estimated) == (["AUM"], ["confident_joint"])
    for wrong in ({"detector": "magic"}, {"detector": "knn_vote@k5"}):
        with pytest.raises(GlitchtraceError, match=r"^policy_settings\.drop\.detector: .*(magic|variant)"):
            asked({"drop": {"number": "known", **wrong}})
