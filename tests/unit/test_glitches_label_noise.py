"""Uniform and class-dependent label noise."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.data.preprocess import VectorInputs, standardisation
from glitchtrace.glitches import class_dependent, clustered, none, uniform
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import clean_table, counts, sample_table

NOISES = (uniform, class_dependent)
RATIOS = st.sampled_from([0.05, 0.1, 0.29, 0.3, 0.57, 0.9])


def table_of(labels: np.ndarray) -> pd.DataFrame:
    return clean_table(pd.DataFrame({"row": np.arange(len(labels)), "part": "train"}), labels, "host")


def balanced(classes: int = 4, per_class: int = 25) -> pd.DataFrame:
    return table_of(np.arange(classes * per_class) % classes)


def inject(
    glitch, table: pd.DataFrame, ratio: float = 0.2, seed: int = 0, classes: int = 4, **options: object
):
    return glitch.inject(table, ratio=ratio, seed=seed, classes=classes, settings=options, foreign={})


def floor(ratio: float, count: int) -> int:
    return math.floor(Fraction(str(ratio)) * count)


@st.composite
def problems(draw):
    """A clean table of 2 to 6 classes, at least 20 samples each, in any order."""
    classes = draw(st.integers(2, 6))
    sizes = draw(st.lists(st.integers(20, 40), min_size=classes, max_size=classes))
    labels = np.repeat(np.arange(classes), sizes)
    return table_of(np.random.default_rng(draw(st.integers(0, 99))).permutation(labels)), classes


def assert_marks_are_changes(before: pd.DataFrame, after: pd.DataFrame) -> np.ndarray:
    """Exactly the mislabelled samples changed, in nothing but label and kind; their positions."""
    marked = (after["kind"] == Kind.MISLABELLED).to_numpy()
    changed = (after["label"] != before["label"]).to_numpy()
    np.testing.assert_array_equal(marked, changed)
    untouched = ["source", "row", "true_label", "source_label"]
    pd.testing.assert_frame_equal(after[untouched], before[untouched])
    pd.testing.assert_frame_equal(after[~marked], before[~marked])
    assert dict(after.dtypes) == dict(before.dtypes)
    return np.flatnonzero(marked)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(problem=problems(), ratio=RATIOS, seed=st.integers(0, 2**32 - 1))
def test_uniform_noise_changes_exactly_k_labels_within_the_classes(problem, ratio, seed):
    table, classes = problem
    after = inject(uniform, table, ratio, seed, classes)
    assert len(assert_marks_are_changes(table, after)) == floor(ratio, len(table))
    assert after["label"].between(0, classes - 1).all()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    problem=problems(),
    ratio=RATIOS,
    seed=st.integers(0, 2**32 - 1),
    matrix=st.sampled_from([None, "pair_flip", "dominant_target"]),
)
def test_class_dependent_noise_changes_exactly_k_labels_of_each_class(problem, ratio, seed, matrix):
    table, classes = problem
    after = inject(
        class_dependent, table, ratio, seed, classes, classes_to_contaminate="all", transition_matrix=matrix
    )
    marked = assert_marks_are_changes(table, after)
    found = np.bincount(table["label"].to_numpy()[marked], minlength=classes)
    sizes = np.bincount(table["label"], minlength=classes)
    np.testing.assert_array_equal(found, [floor(ratio, size) for size in sizes])


@settings(deadline=None, derandomize=True, max_examples=20)
@given(problem=problems(), seed=st.integers(0, 1000), contaminated=st.integers(1, 6))
def test_the_cyclic_shift_is_one_cycle_through_all_classes(problem, seed, contaminated):
    table, classes = problem
    contaminated = min(contaminated, classes)
    after = inject(class_dependent, table, 0.1, seed, classes, classes_to_contaminate=contaminated)
    flips = after[after["kind"] == Kind.MISLABELLED]
    targets = flips.groupby("true_label")["label"].unique()
    assert len(targets) == contaminated
    assert all(len(found) == 1 for found in targets)
    if contaminated == classes:
        visited = [0]
        while len(visited) < classes:
            visited.append(int(targets[visited[-1]][0]))
        assert sorted(visited) == list(range(classes))
        assert int(targets[visited[-1]][0]) == 0


@pytest.mark.parametrize("glitch", NOISES)
def test_the_same_seed_gives_the_same_table_and_another_seed_another(glitch):
    table = balanced()
    pd.testing.assert_frame_equal(inject(glitch, table, seed=3), inject(glitch, table, seed=3))
    assert not inject(glitch, table, seed=3).equals(inject(glitch, table, seed=4))


@pytest.mark.parametrize("glitch", NOISES)
def test_the_given_table_and_the_global_generator_are_left_alone(glitch):
    table = balanced()
    before, state = table.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    inject(
        glitch, table, compat={"uniform_noise_may_keep_label": True, "class_noise_reseeds_each_draw": True}
    )
    pd.testing.assert_frame_equal(table, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_uniform_noise_prefers_no_class():
    table = table_of(np.zeros(5000, dtype=np.int64))
    found = np.bincount(inject(uniform, table, 0.9, classes=10).query("kind == 1")["label"], minlength=10)
    assert found[0] == 0
    assert chisquare(found[1:]).pvalue > 0.001


def test_uniform_noise_may_keep_labels_only_when_asked():
    table = balanced(per_class=100)
    kept = inject(uniform, table, 0.5, compat={"uniform_noise_may_keep_label": True})
    marked = kept[kept["kind"] == Kind.MISLABELLED]
    assert len(marked) == 200
    # One in K = 4 keeps its label; 50 expected, standard deviation 6.
    assert 30 <= (marked["label"] == marked["true_label"]).sum() <= 70
    default = inject(uniform, table, 0.5).query("kind == 1")
    assert (default["label"] != default["true_label"]).all()


def test_reseeding_each_draw_picks_the_same_places_in_each_class():
    table = balanced()
    places = {}
    for reseed in (True, False):
        after = inject(
            class_dependent,
            table,
            classes_to_contaminate="all",
            compat={"class_noise_reseeds_each_draw": reseed},
        )
        marked = np.flatnonzero(after["kind"] == Kind.MISLABELLED)
        places[reseed] = {tuple(marked[marked % 4 == c] // 4) for c in range(4)}
    assert len(places[True]) == 1
    assert len(places[False]) == 4


@pytest.mark.parametrize(
    ("options", "classes_hit"),
    [
        ({}, 1),
        ({"classes_to_contaminate": 1}, 1),
        ({"classes_to_contaminate": 3}, 3),
        ({"classes_to_contaminate": "all"}, 4),
        ({"transition_matrix": "pair_flip"}, 4),
        ({"transition_matrix": "pair_flip", "classes_to_contaminate": 2}, 2),
    ],
)
def test_classes_to_contaminate_counts_source_classes(options, classes_hit):
    after = inject(class_dependent, balanced(), **options)
    assert after.query("kind == 1")["true_label"].nunique() == classes_hit


def test_pair_flip_goes_to_the_next_class():
    flips = inject(class_dependent, balanced(), transition_matrix="pair_flip").query("kind == 1")
    assert ((flips["true_label"] + 1) % 4 == flips["label"]).all()


def test_the_dominant_target_gets_three_quarters():
    flips = inject(class_dependent, balanced(per_class=2000), 0.5, transition_matrix="dominant_target").query(
        "kind == 1"
    )
    offsets = np.bincount((flips["label"] - flips["true_label"]) % 4, minlength=4)
    assert chisquare(offsets[1:], np.array([0.75, 0.125, 0.125]) * 4000).pvalue > 0.001


def test_a_transition_matrix_is_the_distribution_of_flipped_labels_without_its_diagonal():
    matrix = [[0.6, 0.3, 0.1, 0], [0, 1, 0, 0], [0.5, 0, 0, 0.5], [0, 0.01, 0, 0.99]]
    flips = inject(class_dependent, balanced(per_class=4000), 0.5, transition_matrix=matrix).query(
        "kind == 1"
    )
    found = pd.crosstab(flips["true_label"], flips["label"]).reindex(columns=range(4), fill_value=0)
    assert list(found.index) == [0, 2, 3]
    assert chisquare(found.loc[0, [1, 2]], [1500, 500]).pvalue > 0.001
    assert found.loc[0, 3] == 0
    assert chisquare(found.loc[2, [0, 3]], [1000, 1000]).pvalue > 0.001
    assert list(found.loc[3]) == [0, 2000, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transition_matrix": "pairflip"}, "unknown preset 'pairflip'"),
        ({"transition_matrix": [[0.5, 0.5], [0.5, 0.5]]}, "4 rows of 4 numbers"),
        ({"transition_matrix": [[1, 0], [1]]}, "4 rows of 4 numbers"),
        ({"transition_matrix": [[0.5, 0.4, 0, 0]] * 4}, r"row 0 is not a distribution \(sum 0.9\)"),
        ({"transition_matrix": [[0, 1, 0, 0], [2, -1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]}, "row 1 is not"),
        ({"transition_matrix": [[float("nan")] * 4] * 4}, "row 0 is not a distribution"),
        ({"transition_matrix": np.eye(4).tolist()}, "no label would change"),
        ({"classes_to_contaminate": 5}, "classes_to_contaminate: 5 is not a number from 1 to 4"),
        ({"classes_to_contaminate": 0}, "classes_to_contaminate: 0 is not"),
        ({"classes_to_contaminate": "every"}, "classes_to_contaminate: every is not"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(options, message):
    with pytest.raises(GlitchtraceError, match=message) as caught:
        inject(class_dependent, balanced(), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("glitch", NOISES)
def test_a_ratio_of_no_sample_is_refused(glitch):
    with pytest.raises(GlitchtraceError, match=r"ratio 0\.001 .*raise the ratio"):
        inject(glitch, balanced(), 0.001)


@pytest.mark.parametrize("glitch", NOISES)
def test_only_clean_samples_are_hit(glitch):
    table = balanced()
    taken = np.arange(50)
    table.loc[taken, "kind"] = np.int8(Kind.ANOMALOUS)
    after = inject(
        glitch, table, 0.3, **({"classes_to_contaminate": "all"} if glitch is class_dependent else {})
    )
    pd.testing.assert_frame_equal(after.loc[taken], table.loc[taken])
    # The ratio still refers to all samples; class sizes 25 give floor(7.5) each.
    assert counts(after)["mislabelled"] == (30 if glitch is uniform else 28)


@pytest.mark.parametrize("glitch", NOISES)
def test_more_glitches_than_clean_samples_are_refused(glitch):
    table = balanced()
    table.loc[:89, "kind"] = np.int8(Kind.ANOMALOUS)
    with pytest.raises(GlitchtraceError, match="are clean; lower the ratio"):
        inject(glitch, table, 0.5)


def test_no_glitch_changes_nothing():
    table = balanced()
    pd.testing.assert_frame_equal(inject(none, table, 0.0), table)


def test_counts_name_the_kinds_that_occur():
    rows = np.arange(3)
    table = pd.concat(
        [
            sample_table("host", rows, 0, 0, rows, Kind.CLEAN),
            sample_table("other", rows[:2], 1, -1, rows[:2], Kind.ANOMALOUS),
        ]
    )
    assert counts(table) == {"clean": 3, "anomalous": 2}


def test_the_clean_table_holds_the_training_rows_in_their_order():
    split = pd.DataFrame({"row": [4, 1, 0, 2], "part": ["train", "validation", "train", "test"]})
    table = clean_table(split, np.array([5, 6, 7, 8, 9]), "host")
    expected = {"source": "host", "label": [9, 5], "true_label": [9, 5], "source_label": [9, 5], "kind": 0}
    expected |= {"corruption": "", "severity": 0}
    for column, values in expected.items():
        assert (table[column] == values).all()
    assert list(table["row"]) == [4, 0]
    assert sorted(table.columns) == sorted(["row", *expected])
    assert table["kind"].dtype == np.int8


def blobs(count: int = 600, classes: int = 3, seed: int = 0) -> tuple[pd.DataFrame, VectorInputs]:
    """Overlapping clouds, and their rows as vectors."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    points = (rng.normal(size=(count, 12)) + 1.2 * np.eye(12)[labels]).astype(np.float32)
    return table_of(labels), VectorInputs(points, *standardisation(points))


PROBE = {"dimensions": 8, "probe_rows": 300}


def flip(table: pd.DataFrame, rows: VectorInputs, ratio: float = 0.1, seed: int = 0, **options: int):
    chosen = {"ratio": ratio, "seed": seed, "classes": 3, "settings": PROBE | options, "foreign": {}}
    return clustered.inject(table, rows=rows, **chosen)


def opinion(table: pd.DataFrame, rows: VectorInputs, seed: int) -> np.ndarray:
    """What the probe of a seed says of every sample."""
    draws = generator(seed, "clustered noise")
    return clustered.probe(rows, table["label"].to_numpy(), np.arange(len(table)), 3, PROBE, draws)


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.29, 0.57])
@pytest.mark.parametrize("seed", [0, 1])
def test_clustered_noise_changes_exactly_k_labels_to_what_the_probe_says(ratio, seed):
    table, rows = blobs()
    after = flip(table, rows, ratio, seed)
    marked = assert_marks_are_changes(table, after)
    assert len(marked) == floor(ratio, len(table))
    said = opinion(table, rows, seed)
    said[np.arange(len(table)), table["label"]] = -1.0
    np.testing.assert_array_equal(after["label"].to_numpy()[marked], said.argmax(axis=1)[marked])
    pd.testing.assert_frame_equal(after, flip(table, rows, ratio, seed))
    assert not after.equals(flip(table, rows, ratio, seed + 7))


def test_clustered_noise_concentrates_where_the_probe_errs():
    table, rows = blobs(2000)
    for seed in range(5):
        marked = (flip(table, rows, seed=seed)["kind"] == Kind.MISLABELLED).to_numpy()
        errs = opinion(table, rows, seed).argmax(axis=1) != table["label"].to_numpy()
        assert 0.1 < errs.mean() < 0.5
        # Uniform noise would hit errors at their own share.
        assert errs[marked].mean() > 2 * errs.mean()


def test_clustered_noise_hits_clean_samples_only():
    table, rows = blobs()
    before = inject(uniform, table, 0.3, classes=3)
    after = flip(before, rows, 0.2)
    assert counts(after)["mislabelled"] == floor(0.3, len(table)) + floor(0.2, len(table))


def test_a_probe_of_one_class_is_refused():
    labels = np.zeros(40, dtype=np.int64)
    points = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    with pytest.raises(GlitchtraceError, match="all of class 0; raise it"):
        flip(table_of(labels), VectorInputs(points, *standardisation(points)))
