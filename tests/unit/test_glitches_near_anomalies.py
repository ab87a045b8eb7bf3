"""Near-clustered anomalies: class down-sampling, and the ratios that no class can reach."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import _thinned
from glitchtrace.glitches import near_anomalies, uniform
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import clean_table, counts


def host(*sizes: int) -> pd.DataFrame:
    """Samples of len(sizes) classes in a fixed, mixed order."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return clean_table(
        pd.DataFrame({"row": np.arange(len(labels)) + 7, "part": "train"}), np.r_[[0] * 7, labels], "host"
    )


def inject(table: pd.DataFrame, ratio: float = 0.1, seed: int = 0, **options: str) -> pd.DataFrame:
    classes = int(table["label"].max()) + 1
    return near_anomalies.inject(table, ratio=ratio, seed=seed, classes=classes, settings=options, foreign={})


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=2, max_size=5).filter(
        lambda sizes: sum(s > 0 for s in sizes) > 1
    ),
    ratio=st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_one_class_is_left_with_the_ratio_and_nothing_else_changes(sizes, ratio, seed):
    table = host(*sizes)
    share = Fraction(str(ratio)) / (1 - Fraction(str(ratio)))
    wanted = [int(share * (len(table) - size)) for size in sizes]
    possible = [c for c, (w, s) in enumerate(zip(wanted, sizes, strict=True)) if 1 <= w <= s]
    if not possible:
        with pytest.raises(GlitchtraceError, match=f"ratio {ratio} can be reached by down-sampling no class"):
            inject(table, ratio, seed)
        return
    found = inject(table, ratio, seed)
    anomalies = found[found["kind"] == Kind.ANOMALOUS]
    (rare,) = anomalies["label"].unique()
    assert rare in possible
    assert len(anomalies) == wanted[rare]
    assert (found["label"] == rare).sum() == len(anomalies)
    assert (found["label"] == found["true_label"]).all()
    others = table[table["label"] != rare].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[found["label"] != rare].reset_index(drop=True), others)
    assert found["row"].is_monotonic_increasing == table["row"].is_monotonic_increasing
    assert set(anomalies["row"]) <= set(table.loc[table["label"] == rare, "row"])


def test_the_ratio_is_that_of_the_samples_that_remain():
    found = inject(host(300, 300, 300), 0.1)
    assert counts(found) == {"clean": 600, "anomalous": 66}
    assert abs(66 / 666 - 0.1) < 0.001


def test_the_class_and_its_samples_depend_on_the_seed():
    table = host(100, 100, 100, 100)
    pd.testing.assert_frame_equal(inject(table, seed=3), inject(table, seed=3))
    found = [inject(table, seed=seed) for seed in range(30)]
    assert len({f.loc[f["kind"] == Kind.ANOMALOUS, "label"].iloc[0] for f in found}) == 4
    assert len({tuple(f["row"]) for f in found}) == 30


def test_only_classes_that_are_large_enough_are_chosen():
    # To be 20 % of 500 others a class needs 125 samples: two of four classes have them.
    for seed in range(20):
        found = inject(host(300, 250, 40, 30), 0.2, seed)
        assert found.loc[found["kind"] == Kind.ANOMALOUS, "label"].iloc[0] in (0, 1)


@pytest.mark.parametrize(
    ("sizes", "ratio", "message"),
    [
        (
            (20, 20, 20, 20, 20),
            0.3,
            "class 0, the largest, has 20 samples of 100 and would have to keep 34: lower the ratio",
        ),
        ((4, 3), 0.1, "class 0, the largest, has 4 samples of 7 and would have to keep 0: use more samples"),
    ],
)
def test_a_ratio_that_no_class_reaches_is_one_line_with_the_numbers(sizes, ratio, message):
    with pytest.raises(GlitchtraceError, match=message) as caught:
        inject(host(*sizes), ratio)
    assert "\n" not in str(caught.value)


def test_after_another_glitch_only_clean_samples_are_counted_and_hit():
    table = uniform.inject(host(100, 100, 100), ratio=0.1, seed=1, classes=3, settings={}, foreign={})
    found = inject(table)
    wrong = table["kind"] == Kind.MISLABELLED
    pd.testing.assert_frame_equal(
        found[found["kind"] == Kind.MISLABELLED].reset_index(drop=True), table[wrong].reset_index(drop=True)
    )
    rare = found.loc[found["kind"] == Kind.ANOMALOUS, "label"].iloc[0]
    clean = (table["label"] == rare) & ~wrong
    assert counts(found)["anomalous"] == (300 - clean.sum()) // 9


# --- the published definition ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_share_of_the_class_is_kept_of_any_class(seed):
    table = host(300, 250, 40, 30)
    found = inject(table, 0.1, seed, share_of="class")
    anomalies = found[found["kind"] == Kind.ANOMALOUS]
    (rare,) = anomalies["label"].unique()
    assert len(anomalies) == (table["label"] == rare).sum() // 10
    others = table[table["label"] != rare].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[found["label"] != rare].reset_index(drop=True), others)


def test_small_classes_are_drawn_as_well():
    seen = {
        inject(host(300, 250, 40, 30), 0.1, seed, share_of="class").query("kind == 2")["label"].iloc[0]
        for seed in range(30)
    }
    assert seen == {0, 1, 2, 3}


def test_a_down_sampled_validation_keeps_the_share_of_training_and_every_other_row():
    rows = np.arange(300)
    labels = np.resize(np.arange(3), 300)
    split = pd.DataFrame({"row": rows, "part": np.repeat(["train", "validation", "test"], [150, 90, 60])})
    table = inject(clean_table(split, labels, "host"), 0.2, share_of="class", validation="downsampled")
    rare = table.loc[table["kind"] == Kind.ANOMALOUS, "label"].iloc[0]
    found = _thinned(split, table, labels)
    kept = found[found["part"] == "validation"]
    of_class = labels[kept["row"]] == rare
    assert of_class.sum() == 6  # a fifth of 30
    assert (~of_class).sum() == 60
    for part in ("train", "test"):
        pd.testing.assert_frame_equal(found[found["part"] == part], split[split["part"] == part])
    assert _thinned(split, inject(clean_table(split, labels, "host"), 0.2, share_of="class"), labels) is split
