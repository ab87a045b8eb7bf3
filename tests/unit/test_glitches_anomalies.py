"""Far-clustered anomalies and mixtures."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.glitches import far_anomalies, mixture
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import Foreign, clean_table, counts

CLASSES = 10
# 10 foreign classes: 30 rows each in the training part, then 12 each in the test part.
FOREIGN = Foreign(
    name="other",
    labels=np.arange(420) % 10,
    parts={"train": (0, 300), "test": (300, 420)},
    classes=10,
)
PATCHES = Foreign(name="patches", labels=np.repeat([0, 1], 50), parts={"all": (0, 100)}, classes=2)


def host(samples: int = 100) -> pd.DataFrame:
    labels = np.arange(samples) % CLASSES
    return clean_table(pd.DataFrame({"row": np.arange(samples), "part": "train"}), labels, "host")


def inject(ratio: float = 0.1, seed: int = 0, samples: int = 100, source: Foreign = FOREIGN, **options):
    chosen = {"foreign": source.name, "ood_split": "auto", "compat": {}, **options}
    return far_anomalies.inject(
        host(samples),
        ratio=ratio,
        seed=seed,
        classes=CLASSES,
        settings=chosen,
        foreign={FOREIGN.name: FOREIGN, PATCHES.name: PATCHES},
    )


def added(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["kind"] == Kind.ANOMALOUS]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    samples=st.integers(10, 100),
    ratio=st.sampled_from([0.1, 0.12]),
    seed=st.integers(0, 2**32 - 1),
    source=st.sampled_from([FOREIGN, PATCHES]),
)
def test_exactly_k_rows_of_one_foreign_class_are_appended_under_one_label(samples, ratio, seed, source):
    table = inject(ratio, seed, samples, source)
    anomalies = added(table)
    assert len(anomalies) == int(ratio * 100) * samples // 100
    pd.testing.assert_frame_equal(table.iloc[:samples], host(samples))
    assert anomalies["row"].is_unique
    assert anomalies["source"].eq(source.name).all()
    assert anomalies["label"].nunique() == anomalies["source_label"].nunique() == 1
    assert anomalies["label"].between(0, CLASSES - 1).all()
    assert anomalies["true_label"].eq(-1).all()
    np.testing.assert_array_equal(source.labels[anomalies["row"]], anomalies["source_label"])
    assert dict(table.dtypes) == dict(host().dtypes)


def test_the_same_seed_gives_the_same_anomalies_and_seeds_differ():
    pd.testing.assert_frame_equal(inject(seed=5), inject(seed=5))
    assert len({tuple(added(inject(seed=seed))["row"]) for seed in range(10)}) == 10


def test_label_and_foreign_class_are_drawn_independently():
    pairs = {(added(t)["source_label"].iloc[0], added(t)["label"].iloc[0]) for t in map(seeded, range(60))}
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == CLASSES
    assert 1 <= sum(a == b for a, b in pairs) <= CLASSES // 2


def seeded(seed: int) -> pd.DataFrame:
    return inject(seed=seed)


@pytest.mark.parametrize("source", [FOREIGN, PATCHES])
def test_the_label_equals_the_foreign_class_only_when_asked(source):
    compat = {"anomaly_label_equals_class": True}
    tables = [added(inject(seed=seed, source=source, compat=compat)) for seed in range(20)]
    assert all((table["label"] == table["source_label"]).all() for table in tables)
    defaults = [added(inject(seed=seed, source=source)) for seed in range(20)]
    assert not all((table["label"] == table["source_label"]).all() for table in defaults)


def test_with_more_foreign_than_host_classes_the_equal_label_is_a_host_class():
    many = Foreign("many", np.arange(600) % 60, {"all": (0, 600)}, 60)
    options = {"foreign": "many", "ood_split": "auto", "compat": {"anomaly_label_equals_class": True}}
    for seed in range(20):
        table = far_anomalies.inject(
            host(), ratio=0.05, seed=seed, classes=CLASSES, settings=options, foreign={"many": many}
        )
        assert added(table)["label"].lt(CLASSES).all()


@pytest.mark.parametrize(
    ("ood_split", "ratio", "part"),
    [
        ("auto", 0.1, "test"),
        ("auto", 0.12, "test"),
        ("auto", 0.13, "train"),
        ("train", 0.1, "train"),
        ("test", 0.1, "test"),
    ],
)
def test_ood_split_chooses_the_part(ood_split, ratio, part):
    first, end = FOREIGN.parts[part]
    assert added(inject(ratio, ood_split=ood_split))["row"].between(first, end - 1).all()


@pytest.mark.parametrize("ood_split", ["auto", "train", "test"])
def test_a_source_of_one_part_is_drawn_from_as_a_whole(ood_split):
    assert len(added(inject(0.3, source=PATCHES, ood_split=ood_split))) == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"ratio": 0.31},
            "31 anomalies are needed, but class . of other has 12 in the part test, 30 in the part train",
        ),
        (
            {"ratio": 0.13, "ood_split": "test"},
            "13 anomalies are needed, but class . of other has 12 in the part test;",
        ),
        (
            {"ratio": 0.51, "source": PATCHES},
            "51 anomalies are needed, but class . of patches has 50 in the part all;",
        ),
        ({"ratio": 0.001}, "ratio 0.001 of 100 samples is none"),
    ],
)
def test_too_few_foreign_samples_are_refused_with_the_numbers(options, message):
    with pytest.raises(GlitchtraceError, match=message) as caught:
        inject(**options)
    assert "\n" not in str(caught.value)


# --- mixtures ------------------------------------------------------------------------------------------


UNIFORM = {"glitch": "uniform", "ratio": 0.1, "seed": None, "compat": {}}
ANOMALIES = {
    "glitch": "far_anomalies",
    "ratio": 0.1,
    "seed": None,
    "foreign": "other",
    "ood_split": "auto",
    "compat": {},
}
CLASS_DEPENDENT = {
    "glitch": "class_dependent",
    "ratio": 0.5,
    "seed": None,
    "classes_to_contaminate": "all",
    "transition_matrix": None,
    "compat": {},
}


def mix(*steps: dict, seed: int = 0) -> pd.DataFrame:
    return mixture.inject(
        host(),
        ratio=0.0,
        seed=seed,
        classes=CLASSES,
        settings={"steps": list(steps)},
        foreign={"other": FOREIGN},
    )


def test_uniform_noise_then_anomalies_gives_the_published_counts():
    table = mix(UNIFORM, ANOMALIES)
    assert counts(table) == {"clean": 90, "mislabelled": 10, "anomalous": 10}
    assert (table["kind"].iloc[100:] == Kind.ANOMALOUS).all()


def test_a_step_refers_to_the_samples_of_that_step_and_hits_clean_ones_only():
    first = mix(ANOMALIES)
    table = mix(ANOMALIES, UNIFORM, CLASS_DEPENDENT)
    # 110 samples at the second step: 11; then half of each observed class of 110.
    pd.testing.assert_frame_equal(
        table[table["kind"] == Kind.ANOMALOUS], first[first["kind"] == Kind.ANOMALOUS]
    )
    after_two = mix(ANOMALIES, UNIFORM)
    assert counts(after_two)["mislabelled"] == 11
    sizes = np.bincount(after_two["label"], minlength=CLASSES)
    assert counts(table)["mislabelled"] == 11 + (sizes // 2).sum()
    earlier = after_two["kind"] == Kind.MISLABELLED
    pd.testing.assert_frame_equal(table[earlier.to_numpy()], after_two[earlier.to_numpy()])


def test_a_step_without_a_seed_takes_that_of_the_run():
    pd.testing.assert_frame_equal(mix(UNIFORM, seed=7), mix({**UNIFORM, "seed": 7}, seed=1))
    assert not mix(UNIFORM, seed=7).equals(mix(UNIFORM, seed=1))


def test_the_order_of_steps_matters():
    assert counts(mix(ANOMALIES, UNIFORM)) == {"clean": 89, "mislabelled": 11, "anomalous": 10}


def test_an_error_names_the_step():
    with pytest.raises(GlitchtraceError, match=r"^steps\[1\]: ratio 0\.001"):
        mix(UNIFORM, {**ANOMALIES, "ratio": 0.001})


def test_a_mixture_without_steps_is_refused():
    with pytest.raises(GlitchtraceError, match="steps: a mixture without steps"):
        mix()
