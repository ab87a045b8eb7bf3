"""The audit whole: what it finds in data whose errors are known, and what it says of data that it cannot take."""

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import glitchtrace
from glitchtrace.audit import example
from glitchtrace.audit.representation import Representation
from glitchtrace.audit.run import audit_path, run_audit
from glitchtrace.audit.store import Store
from glitchtrace.command import main
from glitchtrace.core.errors import GlitchtraceError


def noisy_wine(share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = load_wine()
    rng = np.random.default_rng(seed)
    wrong = np.sort(rng.choice(len(data.target), round(share * len(data.target)), replace=False))
    labels = data.target.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, 3, len(wrong))) % 3
    return data.data, labels, wrong


def test_the_shipped_example_names_what_was_planted(tmp_path: Path) -> None:
    _, planted = example.example()
    path = example.write(tmp_path)
    found = audit_path(path, label="diagnosis", id="patient", out=tmp_path / "out", gain_repeats=0).issues
    flagged = set(found.id[found.verdict == "mislabelled"])
    assert len(flagged & set(planted["mislabelled"])) >= 0.7 * example.WRONG
    assert len(flagged - set(planted["mislabelled"])) <= 0.15 * len(flagged)
    assert set(found.id[found.verdict == "corrupted"]) == set(planted["corrupted"])
    assert set(found.id[found.verdict == "near duplicate"]) == set(planted["near duplicate"])


def test_clean_data_are_called_clean() -> None:
    found = glitchtrace.audit(*load_wine(return_X_y=True), gain_repeats=0)
    assert found.summary["counts"]["mislabelled"] == 0
    assert found.summary["wrong_labels"]["estimate"] < 2


def test_labels_that_follow_nothing_are_not_judged() -> None:
    rng = np.random.default_rng(0)
    found = glitchtrace.audit(rng.normal(size=(400, 5)), rng.integers(0, 3, 400))
    assert found.summary["counts"]["mislabelled"] == 0
    assert "no learner says more" in found.summary["facts"]["unjudged"]
    assert not found.gain["measured"]


@pytest.mark.parametrize("form", ["array", "frame", "category", "text"])
def test_labels_of_every_form_give_the_same_verdicts(form: str) -> None:
    X, y, wrong = noisy_wine(0.1, 1)
    labels: object = y
    features: object = X
    if form == "frame":
        features, labels = pd.DataFrame(X).rename(columns=str), pd.Series(y)
    elif form == "category":
        labels = pd.Series(y).astype("category")
    elif form == "text":
        labels = np.array(["a", "b", "c"])[y]
    found = glitchtrace.audit(features, labels, gain_repeats=0).issues
    first = set(found.sort_values("score_label", ascending=False).row[: len(wrong)])
    assert len(first & set(wrong)) >= 0.85 * len(wrong)


@pytest.mark.parametrize("kind", ["binary", "large_binary", "fixed"])
def test_bytes_are_the_text_that_they_hold(kind: str) -> None:
    """As HDF5 gives text, and Parquet columns of bytes hold it."""
    import pyarrow as pa

    from glitchtrace.audit.samples import as_text
    from glitchtrace.data import table_files

    values = [b"ab", b"\xc3\xa9", None, b"x\xe9"]
    kinds = {"binary": pa.binary(), "large_binary": pa.large_binary(), "fixed": pa.binary(2)}
    assert table_files._as_text(pa.chunked_array([pa.array(values, kinds[kind])])).tolist() == [
        "ab", "é", "", r"x\xe9"
    ]  # fmt: skip
    assert as_text(np.array(values, dtype=object)).tolist() == ["ab", "é", "", r"x\xe9"]
    assert as_text(np.array([b"ab", b"c"])).tolist() == ["ab", "c"]


def test_probabilities_of_ones_own_model_train_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, wrong = noisy_wine(0.1, 2)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    p = cross_val_predict(model, X, y, method="predict_proba", cv=StratifiedKFold(5))
    monkeypatch.setattr(
        "glitchtrace.audit.detection.compare_learners", lambda *a, **k: pytest.fail("trained")
    )
    found = glitchtrace.audit(X, y, probabilities=p, gain_repeats=0)
    flagged = set(found.issues.row[found.issues.verdict == "mislabelled"])
    assert len(flagged & set(wrong)) >= 0.8 * len(wrong)
    assert len(flagged - set(wrong)) <= 2
    assert "your model" in found.summary["facts"]["judges"]


@pytest.mark.parametrize("kind", ["constant", "random", "shuffled", "reversed", "turned"])
def test_probabilities_that_do_not_tell_the_labels_judge_none(kind: str) -> None:
    rng = np.random.default_rng(0)
    classes = 3 if kind == "turned" else 2
    y = rng.integers(0, classes, 300)
    y[:24] = (y[:24] + 1) % classes
    sure = 0.1 + 0.7 * np.eye(3)[:classes, :classes]
    sure /= sure.sum(axis=1, keepdims=True)
    p = {
        "constant": np.full((300, classes), 1 / classes),
        "random": rng.dirichlet(np.ones(classes), 300),
        "shuffled": sure[rng.permutation(y)],
        "reversed": sure[1 - y],
        "turned": sure[(y + 1) % classes],
    }[kind]
    found = glitchtrace.audit(rng.normal(size=(300, 2)), y, probabilities=p, gain_repeats=0)
    assert found.issues.suspicion[found.issues.verdict == "clean"].isna().all()
    assert found.summary["counts"]["mislabelled"] == 0
    assert found.summary["wrong_labels"] is None
    why = found.summary["facts"]["unjudged"]
    assert "your probabilities say no more of the labels" in why
    assert ("columns in another order" in why) == (kind in ("reversed", "turned"))


@pytest.mark.parametrize(("share", "judged"), [(0.0, True), (0.3, True), (0.5, False)])
def test_sure_probabilities_judge_labels_that_are_often_wrong(share: float, judged: bool) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 400)
    p = np.eye(2)[y]
    y = np.where(
        rng.random(400) < share, 1 - y, y
    )  # far greater loss than the entropy, and not for want of sense
    found = glitchtrace.audit(rng.normal(size=(400, 2)), y, probabilities=p, gain_repeats=0)
    assert ("unjudged" not in found.summary["facts"]) == judged


def test_a_frame_of_probabilities_is_taken_by_names_and_index(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), rng.choice(["a", "b", "c"], 30)
    p = rng.dirichlet(np.ones(3), 30)
    monkeypatch.setattr("glitchtrace.audit.run._run", lambda samples, *_: samples)
    frame = pd.DataFrame(p, columns=["a", "b", "c"])
    for given in (p, frame, frame[["c", "a", "b"]], pd.DataFrame(p)):
        np.testing.assert_allclose(glitchtrace.audit(X, y, probabilities=given).probabilities, p, rtol=1e-12)
    with pytest.raises(GlitchtraceError, match="no column is named 'b'"):
        glitchtrace.audit(X, y, probabilities=frame.rename(columns={"b": "d"}))
    turned = frame.iloc[::-1]
    for given in (
        {"probabilities": turned},
        {"features": turned},
        {"time": turned["a"]},
        {"group": turned["a"]},
    ):
        with pytest.raises(GlitchtraceError, match="the same index in another order"):
            glitchtrace.audit(X, pd.Series(y), **given)
    with pytest.raises(GlitchtraceError, match="the same index in another order"):
        glitchtrace.audit(pd.DataFrame(X), pd.Series(y, index=range(29, -1, -1)))


def numbers(kind: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows (600, 5) and numbers that follow them, with right values of another scatter each."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(600, 5))
    told, free = 2 * X[:, 0] + 1.5 * np.sin(2 * X[:, 1]) + X[:, 2], rng.normal(size=600)
    return X, {
        "even": told + 0.5 * free,
        "uneven": told + 0.5 * np.exp(0.8 * X[:, 4]) * free,
        "one-sided": told + rng.exponential(0.7, 600),
        "prices": 1000 * np.exp(0.5 * told + 0.3 * free),
        "counts": rng.poisson(np.exp(0.4 * told + 1)).astype(float),
        "heavy tails": told + 0.5 * rng.standard_t(3, 600),
        "nothing told": free,
        "zeros told": np.where(told + free > 0, np.exp(4 + 0.5 * told), 0).round(),
        "zeros not told": np.where(rng.random(600) < 0.4, 0, np.exp(4 + 0.5 * told)).round(),
        "cut": np.clip(told + 0.5 * free, -2, 2.5),
        "many zeros and counts": np.where(rng.random(600) < 0.25, 0, rng.poisson(np.exp(0.2 * told + 2.3))),
        "steep counts": rng.poisson(np.exp(0.8 * told)).astype(float),
        "rounded": (np.exp(0.5 * told + 0.3 * free) * 10).round() * 100,
        "two modes told": np.where(X[:, 0] > 1, 200.0, 0.0) + told + 0.5 * free,
        "two modes alone told": np.where(X[:, 0] > 1, 200.0, 0.0) + free,
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "even", "uneven", "one-sided", "prices", "counts", "heavy tails", "nothing told", "zeros told",
        "zeros not told", "cut", "many zeros and counts", "steep counts", "rounded", "two modes told",
        "two modes alone told",
    ],
)  # fmt: skip
def test_right_numbers_are_not_flagged(kind: str) -> None:
    found = glitchtrace.audit(*numbers(kind), gain_repeats=0)
    assert not (found.issues.verdict == "mislabelled").any()
    assert ("unjudged" in found.summary["facts"]) == kind.endswith(("nothing told", "alone told"))
    if "unjudged" not in found.summary["facts"]:
        assert found.summary["wrong_labels"]["low"] == 0


@pytest.mark.parametrize("kind", ["even", "uneven", "one-sided", "heavy tails"])
def test_wrong_numbers_are_flagged_as_promised(kind: str) -> None:
    X, y = numbers(kind, 1)
    wrong = np.random.default_rng(2).choice(600, 30, replace=False)
    y[wrong] += np.where(np.arange(30) % 2, 20, -20)
    found = glitchtrace.audit(X, y, gain_repeats=0)
    flagged = found.issues.row[found.issues.verdict == "mislabelled"]
    assert len(set(flagged) & set(wrong)) >= 15
    assert len(set(flagged) - set(wrong)) <= 0.1 * len(flagged)


@pytest.mark.parametrize("kind", ["zeros told", "zeros not told", "cut"])
def test_numbers_that_many_rows_share_are_not_judged_and_a_note_names_them(kind: str) -> None:
    X, y = numbers(kind)
    found = glitchtrace.audit(X, y, gain_repeats=0)
    shared = np.isin(y, [-2, 2.5]) if kind == "cut" else y == 0
    rows = found.issues.set_index("row").suspicion.sort_index()
    assert rows[shared].isna().all()
    assert rows[~shared].notna().all()
    note = next(
        note for note in found.summary["notes"] if note.startswith("Many rows share a number exactly")
    )
    for value in np.unique(y[shared]):
        assert f"({(y == value).sum()})" in note


@pytest.mark.parametrize("share", [0.04, 0.1])
def test_one_wrong_value_in_many_rows_is_found_and_counted(share: float) -> None:
    X, y = numbers("even")
    wrong = np.random.default_rng(3).choice(600, round(600 * share), replace=False)
    y[wrong] = -999
    found = glitchtrace.audit(X, y, gain_repeats=0)
    assert set(found.issues.row[found.issues.verdict == "mislabelled"]) == set(wrong)
    number = found.summary["wrong_labels"]
    assert number["low"] <= len(wrong) <= number["high"]
    assert abs(number["estimate"] - len(wrong)) < 0.1 * len(wrong)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [1e7, -1e9, 1e200, 1.7e308])
def test_an_absurd_number_is_found(value: float) -> None:
    X, y = numbers("prices")
    y[1] = value
    found = glitchtrace.audit(X[:300], y[:300], gain_repeats=1)
    first = found.issues.iloc[0]
    assert (first.row, first.verdict) == (1, "mislabelled")
    assert first.suspicion > 0.99
    assert 0 < float(first.proposed) < 1e5


@pytest.mark.parametrize(
    "name", ["normal", "uniform", "lognormal", "standard_cauchy", "poisson", "geometric", "pareto"]
)
def test_tails_of_any_kind_are_not_far_out(name: str) -> None:
    from glitchtrace.audit.numbers import set_apart

    rng = np.random.default_rng(0)
    more = {"lognormal": (0, 3), "poisson": (2,), "geometric": (0.1,), "pareto": (1,)}
    draws = [getattr(rng, name)(*more.get(name, ()), size=500).astype(float) for _ in range(200)]
    assert sum(set_apart(y)[1].any() for y in draws) <= 2
    for y in draws[:20]:
        y[:5] = np.median(y) - 1e3 * np.abs(y).max()
        far = set_apart(y)[1]
        assert far[:5].all()
        assert far.sum() < 10


def test_rows_of_one_group_share_a_number_for_another_reason() -> None:
    from glitchtrace.audit.numbers import set_apart

    y = np.random.default_rng(0).normal(size=300)
    y[:30] = y[0]
    groups = np.r_[np.zeros(30, dtype=int), np.arange(1, 271)]
    assert set_apart(y)[0].tolist() == [True] * 30 + [False] * 270
    assert not set_apart(y, groups)[0].any()


def test_numbers_of_a_few_steps_are_not_judged() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    found = glitchtrace.audit(X, rng.poisson(np.exp(X[:, 0] - 0.5)), task="numbers", gain_repeats=0)
    assert found.summary["facts"]["unjudged"].endswith("set task: classes")


def test_a_single_number_far_out_is_the_most_suspicious_and_spoils_no_proposal() -> None:
    X, y = numbers("even")
    y[7] = 1e8
    issues = glitchtrace.audit(X, y, gain_repeats=0).issues
    assert issues.sort_values("suspicion", ascending=False, kind="stable").row.iloc[0] == 7
    proposed = issues.proposed[issues.proposed != ""].astype(float)
    assert proposed.abs().max() < 20


@pytest.mark.parametrize("kind", ["even", "prices", "counts"])
def test_the_even_scale_is_even_and_leads_back(kind: str) -> None:
    from glitchtrace.audit.numbers import Even

    def lean(values: np.ndarray) -> float:
        low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
        return float((high + low - 2 * middle) / (high - low))

    _, y = numbers(kind)
    even = Even.fit(y)
    z = even.of(y)
    assert abs(np.median(z)) < 1e-9
    assert abs(lean(z)) < 0.5 * abs(lean(y)) + 0.05
    inside = np.abs(z) < 10
    np.testing.assert_allclose(even.back(z, y)[inside], y[inside], rtol=1e-6, atol=1e-6)
    assert np.isfinite(even.back(np.array([-1e9, 1e9]), y)).all()


def test_a_numeric_target_is_judged_by_residuals() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    y = X @ np.array([2.0, -1.0, 0.5, 0.0]) + 0.1 * rng.normal(size=400)
    wrong = rng.choice(400, 20, replace=False)
    y[wrong] += rng.choice([-4, 4], 20)
    found = glitchtrace.audit(X, y, gain_repeats=0)
    flagged = set(found.issues.row[found.issues.verdict == "mislabelled"])
    assert len(flagged & set(wrong)) >= 18
    assert len(flagged - set(wrong)) <= 2
    assert any("residuals" in note for note in found.summary["notes"])


def costly(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Features, and a target of which ten values are far too large."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 4))
    y = 200_000.128 + 40_000 * X[:, 0] + 500 * rng.normal(size=rows)
    y[:10] += 400_000
    return X, y


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (lambda y: y, r"\d{6}"),
        (lambda y: y.astype(np.uint32), r"\d{6}"),
        (lambda y: y / 1e5, r"\d\.\d{4}"),
        (lambda y: np.round(y / 1e5, 1), r"\d\.\d"),
        (lambda y: y * 1e-12, r"\d(\.\d+)?e-07"),
        (lambda y: np.array([Decimal(f"{v / 1e5:.2f}") for v in y], dtype=object), r"\d\.\d\d"),
    ],
)
def test_new_numbers_have_the_form_of_the_column_and_the_others_stay(
    tmp_path: Path, values: Callable[[np.ndarray], np.ndarray], form: str
) -> None:
    X, y = costly()
    y = values(y)
    found = glitchtrace.audit(X, y, gain_repeats=0, out=tmp_path)
    changed = found.issues[found.issues.action == "relabel"]
    assert set(changed.row) >= set(range(10))
    assert all(re.fullmatch(form, text) for text in changed.proposed)
    labels, keep = found.repaired(y)
    assert labels.dtype == y.dtype
    assert {type(value) for value in labels.tolist()} == {type(value) for value in y.tolist()}
    kept = np.delete(np.arange(len(y)), changed.row)
    assert (labels[kept] == y[kept]).all()
    assert [float(v) for v in labels[changed.row]] == [float(v) for v in changed.proposed]
    written = pd.read_csv(tmp_path / "cleaned.csv").label
    np.testing.assert_array_equal(written, [float(value) for value in labels[keep]])


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_repaired_numeric_column_keeps_its_form(tmp_path: Path, name: str) -> None:
    X, y = costly()
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=y.astype(np.int64))
    if name == "t.csv":
        frame = frame.assign(y=y.round(2))
        frame.to_csv(tmp_path / name, sep=";", decimal=",", index=False)
    else:
        frame.to_parquet(tmp_path / name)
    found = audit_path(tmp_path / name, label="y", gain_repeats=0, out=tmp_path / "out").issues
    if name == "t.csv":
        cleaned = pd.read_csv(tmp_path / "out/cleaned.csv", sep=";", decimal=",")
        before = pd.read_csv(tmp_path / name, sep=";", decimal=",")
    else:
        before, cleaned = frame, pd.read_parquet(tmp_path / "out/cleaned.parquet")
    assert cleaned.y.dtype == before.y.dtype
    assert set(np.flatnonzero(cleaned.y != before.y)) == set(found.row[found.action == "relabel"])
    reviewed = found[found.row == 3].assign(proposed="123.5")
    reviewed.to_csv(tmp_path / "list.csv", index=False)
    arguments = [
        "apply",
        str(tmp_path / "list.csv"),
        "--audit",
        str(tmp_path / "out"),
        "--out",
        str(tmp_path),
    ]
    assert main(arguments) == (0 if name == "t.csv" else 1)
    if name == "t.csv":
        written = pd.read_csv(tmp_path / "cleaned-reviewed.csv", sep=";", decimal=",")
        assert written.y.tolist() == [*before.y[:3], 123.5, *before.y[4:]]


@pytest.mark.parametrize(
    "values",
    [
        lambda y: y.astype(bool),
        lambda y: np.array([bool(value) for value in y], dtype=object),
        lambda y: np.array([float(value) for value in y], dtype=object),
        lambda y: y * 1.0,
        lambda y: np.array(["no", "malignant"])[y],
        lambda y: np.array([b"no", b"malignant"])[y],
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pd.Series(np.array(["no", "malignant"])[y]).astype("category"),
    ],
)
def test_repaired_labels_are_of_the_type_of_the_others(values: Callable[[np.ndarray], Any]) -> None:
    rng = np.random.default_rng(0)
    y = np.sort(rng.integers(0, 2, 200))
    p = np.where(y[:, None] == [0, 1], 0.999, 0.001)
    if values(np.array([0, 1]))[0] in ("no", b"no"):
        p = p[:, ::-1]  # classes are sorted
    wrong = np.arange(12)
    y[wrong] = 1 - y[wrong]
    given = values(y)
    found = glitchtrace.audit(rng.normal(size=(200, 2)), given, probabilities=p, gain_repeats=0)
    found.issues.loc[found.issues.row.isin(wrong), "action"] = "relabel"
    labels, _ = found.repaired(given)
    before = np.asarray(given)
    assert labels.dtype.kind == before.dtype.kind
    assert {type(value) for value in labels.tolist()} == {type(value) for value in before.tolist()}
    assert set(np.flatnonzero(labels != before)) == set(wrong)
    with pytest.raises(GlitchtraceError, match="199 labels where 200 were audited"):
        found.repaired(given[:-1])
    for others in (before[::-1], np.zeros(200, dtype="datetime64[s]")):
        with pytest.raises(GlitchtraceError, match=r"y: row \d+ is '.*' where '.*' was audited"):
            found.repaired(others)


def test_folds_divide_neither_groups_nor_duplicates() -> None:
    from glitchtrace.audit.cross_fit import grouped_folds

    rng = np.random.default_rng(0)
    groups = rng.integers(0, 30, 200)
    fold = grouped_folds(rng.integers(0, 3, 200), 5, 0, groups)
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
    assert set(fold) == set(range(5))
    times = rng.normal(size=200)
    fold = grouped_folds(np.zeros(200, dtype=int), 5, 0, None, times)
    ends = [(times[fold == f].min(), times[fold == f].max()) for f in range(5)]
    assert all(ends[f][1] <= ends[f + 1][0] for f in range(4))


def test_a_row_that_is_not_judged_takes_nothing_from_the_others() -> None:
    """What is believed of the other rows is the same with it as without it, vote of neighbours included."""
    from glitchtrace.audit.detection import detect
    from glitchtrace.audit.representation import Representation
    from glitchtrace.audit.samples import from_arrays
    from glitchtrace.audit.settings import Settings
    from glitchtrace.audit.store import Store

    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(3, 4))
    y = np.arange(90) % 3
    lines = (centres[y] + rng.normal(size=(90, 4))).astype(np.float32)
    lines = np.vstack([lines, lines[:1] + 0.1])  # near enough to be a neighbour of many
    names = np.array(["a", "b", "c"], dtype=object)[y]
    names[:6] = names[1:7]

    def believed(labels: np.ndarray, unread: np.ndarray | None = None) -> Any:
        n = len(labels)
        samples = replace(from_arrays(lines[:n], labels, Settings()), unread=unread)
        return detect(
            samples, Representation(lines[:n], None, ""), Settings(), Store(None), lambda share: None
        )

    without = believed(names)
    assert set(without.facts["weights"]) > {"neighbours"}
    for label, unread in ((None, None), ("rare", None), ("a", np.arange(91) == 90)):
        found = believed(np.append(names, [label]), unread)
        assert found.facts["weights"] == without.facts["weights"]
        assert found.facts["number"] == without.facts["number"]
        np.testing.assert_array_equal(found.evidence.wrong[:90], without.evidence.wrong)


def test_the_audited_file_is_no_trusted_one(tmp_path: Path) -> None:
    X, y = costly()
    table = pd.DataFrame(X).add_prefix("x").assign(y=y > np.median(y))
    path, copy = tmp_path / "data.csv", tmp_path / "copy.csv"
    table.to_csv(path, index=False)
    table.drop(columns="y").to_csv(copy, index=False)  # trusted rows need no labels
    for other in (path, copy):
        with pytest.raises(GlitchtraceError, match=f"{other.name}: these are the audited data themselves"):
            glitchtrace.audit(path, label="y", trusted=str(other), gain_repeats=0)


def test_rows_that_leak_into_the_trusted_file_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 3)), columns=list("abc")).assign(y=rng.choice(["u", "v"], 80))
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[[5, 17]].assign(y="u").to_csv(tmp_path / "test.csv", index=False, sep=";")
    found = audit_path(
        tmp_path / "train.csv", label="y", trusted=str(tmp_path / "test.csv"), gain_repeats=0
    ).issues
    assert set(found.row[found.verdict == "leak"]) == {5, 17}


@pytest.mark.parametrize("form", ["csv", "npy"])
def test_near_leaks_are_told_from_equal_ones_and_need_no_labels(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 12)).astype(np.float32).astype(np.float64)
    other = np.concatenate([X[[7]], X[[30]] + 1e-4, X[[50]] + 0.3, rng.normal(size=(9, 12))])
    y = rng.integers(0, 2, 120)
    settings: dict[str, str] = {"trusted": str(tmp_path / f"test.{form}")}
    if form == "csv":
        kind = rng.choice(["u", "v"], 120)
        frame = pd.DataFrame(X).rename(columns=str).assign(kind=kind, name=[f"p{n}" for n in range(120)], y=y)
        frame.to_csv(tmp_path / "train.csv", index=False)
        more = pd.DataFrame(other).rename(columns=str).assign(kind=[*kind[[7, 30, 50]], *["w"] * 9])
        more.assign(name=[f"q{n}" for n in range(12)]).to_csv(tmp_path / "test.csv", index=False)
        settings |= {"label": "y", "id": "name"}
    else:
        np.save(tmp_path / "train.npy", X)
        np.save(tmp_path / "y.npy", y)
        np.save(tmp_path / "test.npy", other.astype(np.float32))
        settings |= {"labels": str(tmp_path / "y.npy")}
    found = audit_path(tmp_path / f"train.{form}", gain_repeats=0, **settings).issues.set_index("row")
    assert set(found.index[found.verdict == "leak"]) == {7, 30}
    assert found.leak_of[[7, 30]].tolist() == (["q0", "q1"] if form == "csv" else ["0", "1"])
    assert found.suspicion[[7, 30]].tolist() == [1.0, 0.95]
    assert "nearly the same content" in found.evidence[30]


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("kind", ["embedding", "number", "category", "text"])
def test_rows_that_show_nothing_equal_nothing(kind: str, beside: bool) -> None:
    rng = np.random.default_rng(4)
    y = np.arange(120) % 2
    values = y * 3.0 + rng.normal(size=120)
    cells: list[Any] = {
        "embedding": [[value, *rng.normal(size=3).tolist()] for value in values.tolist()],
        "number": values.tolist(),
        "category": [f"c{value:.0f}" for value in values],
        "text": [f"{value:.3f} {value:.1f} seven times {value:.0f} words" for value in values],
    }[kind]
    lost = [5, 6, 8, 10]
    for row in lost:
        cells[row] = None
    if kind == "embedding":
        cells[8], cells[10] = [float("nan")] * 4, []
    frame = pd.DataFrame({"x": cells, "y": y})
    if beside:
        frame["z"] = rng.normal(size=120)
    found = glitchtrace.audit(frame, label="y", gain_repeats=0, progress=False)
    rows = found.issues.set_index("row").loc[lost]
    assert not set(rows.action) & {"drop", "relabel"}
    assert (rows.duplicate_of == "").all()
    corrupted = not beside or kind == "embedding"
    assert (rows.verdict == "corrupted").all() == corrupted
    assert any("no column holds a value: 4;" in note for note in found.summary["notes"]) != beside
    given = glitchtrace.audit(
        frame, label="y", gain_repeats=0, features=rng.normal(size=(120, 2)) + y[:, None] * 5, progress=False
    )
    assert (given.issues.set_index("row").loc[lost].observed_confidence > 0).all()


def test_near_duplicates_are_found_in_a_table_of_many_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 40))
    X[200:220] = X[:20] + 3e-4 * rng.uniform(-1, 1, (20, 40))
    X[220:230] = X[20:30] + 0.01
    frame = pd.DataFrame(X).rename(columns=str).assign(y=rng.integers(0, 2, 300))
    found = glitchtrace.audit(frame, label="y", gain_repeats=0).issues
    assert set(found.row[found.duplicate_of != ""]) == set(range(200, 220))


def _twins(matrix: np.ndarray, table: bool = True) -> set[int]:
    """Rows that repeat an earlier one."""
    from glitchtrace.audit import neighbourhood

    rows = np.ascontiguousarray(matrix, dtype=np.float32)
    near, distances = neighbourhood.nearest(rows, neighbourhood.NEIGHBOURS, 0)
    hashes = np.array([row.tobytes().hex() for row in rows], dtype=object)
    return set(np.flatnonzero(neighbourhood.duplicates(hashes, rows, near, distances, table=table).twin))


@pytest.mark.parametrize("rows", [60, 300, 1500])
@pytest.mark.parametrize("kind", ["one", "categories", "dependent", "skewed", "two", "array"])
def test_independent_rows_are_no_near_duplicates_however_dense(rows: int, kind: str) -> None:
    false = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, sign = rng.normal(size=rows), rng.choice([-1.0, 1.0], (rows, 3))
        matrix = {
            "one": x[:, None],
            "categories": np.c_[x, sign],
            "dependent": np.c_[x, np.sin(x), np.cos(x), 2 * x + 1e-5 * rng.normal(size=rows)],
            "skewed": np.exp(2 * x)[:, None] / 8,
            "two": np.c_[x, rng.normal(size=rows)],
            "array": x[:, None],
        }[kind]
        false.append(len(_twins(matrix, table=kind != "array")))
    # Of tables without a copy one in twenty may name a pair: five or fewer of twenty, in all but one of 3,000 cases.
    assert max(false) <= 3
    assert np.count_nonzero(false) <= 5


@pytest.mark.parametrize(("columns", "step"), [(1, 1e-6), (2, 1e-4), (3, 3e-4), (10, 9e-4)])
def test_near_copies_are_told_from_rows_that_are_near_by_chance(columns: int, step: float) -> None:
    rng = np.random.default_rng(columns)
    matrix = rng.normal(size=(400, columns))
    matrix[-20:] = matrix[:20] + step * rng.choice([-1, 1], (20, columns))
    assert _twins(matrix) == set(range(380, 400))


@pytest.mark.parametrize(
    ("kind", "by_chance"),
    [
        ("switches", True),
        ("categories", True),
        ("one category", True),
        ("whole numbers", True),
        ("numbers", False),
        ("switches and a number", False),
        ("long rows of switches", False),
        ("long rows of categories", False),
    ],
)
def test_equal_rows_of_an_array_are_chance_where_few_values_make_them(kind: str, by_chance: bool) -> None:
    from glitchtrace.audit import neighbourhood

    rng = np.random.default_rng(0)
    switches = rng.choice([0.0, 1.0], (300, 60))
    rows = {
        "switches": switches[:, :6],
        "categories": np.eye(9)[rng.integers(9, size=(300, 2))].reshape(300, -1),
        "one category": np.eye(5)[rng.integers(5, size=300)],
        "whole numbers": rng.integers(100, size=(300, 1)).astype(float),
        "numbers": rng.normal(size=(300, 5)),
        "switches and a number": np.c_[switches[:, :4], rng.normal(size=300)],
        "long rows of switches": switches,
        "long rows of categories": np.eye(3)[rng.integers(3, size=(300, 20))].reshape(300, -1),
    }[kind]
    if not by_chance:
        rows[200:] = rows[:100]
    near, distances = neighbourhood.nearest(rows, neighbourhood.NEIGHBOURS, 0)
    hashes = np.array([row.tobytes().hex() for row in rows], dtype=object)
    found = neighbourhood.duplicates(hashes, rows, near, distances, table=False)
    assert found.by_chance == by_chance


def test_rows_that_are_all_equal_are_refused_as_such() -> None:
    with pytest.raises(GlitchtraceError, match="all rows are equal or of one group"):
        glitchtrace.audit(np.ones((60, 3)), np.arange(60) % 2, gain_repeats=0)


def test_many_near_copies_of_one_row_are_a_cluster_and_no_crowd() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(1000, 10))
    matrix[-40:] = matrix[0] + 3e-4 * rng.uniform(-1, 1, (40, 10))
    assert _twins(matrix) == set(range(960, 1000))


def test_short_texts_that_differ_in_a_rare_word_are_no_duplicates() -> None:
    rng = np.random.default_rng(0)
    words = [f"word{n}" for n in range(60)]
    frame = pd.DataFrame(
        {"text": [f"{rng.choice(words)} only{n}" for n in range(400)], "y": rng.integers(0, 2, 400)}
    )
    frame.loc[399, "text"] = frame.text[0]
    found = glitchtrace.audit(frame, label="y", text="text", gain_repeats=0).issues
    assert set(found.row[found.duplicate_of != ""]) == {399}


def test_rows_that_are_near_by_chance_are_no_leaks(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"a": rng.normal(size=1600), "sex": rng.choice(["f", "m"], 1600)})
    train, test = frame[:1200].assign(y=rng.integers(0, 2, 1200)), frame[1200:].copy()
    test.iloc[:2] = train[["a", "sex"]].iloc[:2]
    test.to_csv(tmp_path / "test.csv", index=False)
    found = glitchtrace.audit(train, label="y", trusted=str(tmp_path / "test.csv"), gain_repeats=0)
    assert set(found.issues.row[found.issues.verdict == "leak"]) == {0, 1}
    assert found.summary["facts"]["leaks"] == found.summary["facts"]["leaks_exact"] == 2


@pytest.mark.parametrize("form", ["csv", "npy"])
def test_rows_that_are_equal_by_chance_are_no_leaks_and_copies_are(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 400)
    trusted = str(tmp_path / f"test.{form}")

    def leaks(train: np.ndarray, test: np.ndarray) -> dict[str, object]:
        if form == "csv":
            pd.DataFrame(test).rename(columns=str).to_csv(trusted, index=False)
            X: object = pd.DataFrame(train).rename(columns=str).assign(y=y)
            found = glitchtrace.audit(X, label="y", trusted=trusted, gain_repeats=0)
        else:
            np.save(trusted, test)
            found = glitchtrace.audit(train, y, trusted=trusted, gain_repeats=0)
        facts = found.summary["facts"]
        return {key: facts[key] for key in ("leaks", "leaks_by_chance")}

    switches = rng.integers(0, 2, (500, 6)).astype(float)
    assert leaks(switches[:400], switches[400:]) == {"leaks": 0, "leaks_by_chance": True}
    numbers = rng.normal(size=(500, 4))
    numbers[300:400] = numbers[:100]  # copies, and more than a tenth of the rows
    numbers[400:403] = numbers[200:203]
    assert leaks(numbers[:400], numbers[400:]) == {"leaks": 3, "leaks_by_chance": False}


def test_neighbours_of_many_rows_are_looked_for_among_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from glitchtrace.audit import neighbourhood

    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(40, 8))[rng.integers(0, 40, 3000)] + 0.1 * rng.normal(size=(3000, 8))).astype(
        "f4"
    )
    rows[2000:2020] = rows[:20] + 1e-4
    rows[2020:] = rows[2020]  # a cell of a thousand equal rows
    exact, far = neighbourhood.nearest(rows, 5, 0)
    for name, value in (("_EXACT_ROWS", 500), ("_CELL_ROWS", 20), ("_COMPARED", 600)):
        monkeypatch.setattr(neighbourhood, name, value)
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found, away = neighbourhood.nearest(rows, 5, 0)
        assert (found[:20, 0] == np.arange(2000, 2020)).all()
        assert (away[2020:] == 0).all()
        assert (found[:2000] == exact[:2000]).mean() > 0.9
        assert (away[:2000] >= far[:2000] - 1e-3).all()
    others, _ = neighbourhood.nearest(rows[:20] + 2e-4, 1, 0, rows[20:])
    assert (others[:, 0] == np.arange(1980, 2000)).all()


def test_findings_do_not_depend_on_the_number_of_threads() -> None:
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 1500)
    X = rng.normal(size=(3, 40))[y] + 2 * rng.normal(size=(1500, 40))
    y[:60] = (y[:60] + 1) % 3
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(glitchtrace.audit(X, y, gain_repeats=0).issues)
    pd.testing.assert_frame_equal(*found, check_exact=True)


def test_distances_to_classes_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from glitchtrace.audit import neighbourhood

    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(300, 6)).astype(np.float32), rng.integers(-1, 4, 300)
    whole = neighbourhood.far_rows(rows, labels, np.empty((300, 0)), 0.1)
    monkeypatch.setattr(neighbourhood, "_BLOCK", 70)
    for one, other in zip(whole, neighbourhood.far_rows(rows, labels, np.empty((300, 0)), 0.1), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_of_two_doubtful_classes_the_number_may_be_as_low_as_odd_right_labels_make_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from glitchtrace.audit import judgement
    from glitchtrace.detectors.jury import promise

    rng = np.random.default_rng(0)
    p = rng.choice([0.03, 0.5, 0.9], 900)  # chance decides: every label is right
    labels = (rng.random(900) < p).astype(np.int64)
    found = []
    for odd in (promise.ODD, 0.0):
        monkeypatch.setattr(promise, "ODD", odd)
        found.append(judgement.judge({"one": np.c_[1 - p, p]}, labels, 2, 0.1, 0))
    assert found[0].low < found[1].low
    assert found[0].high == found[1].high


def test_an_interval_counts_the_rows_that_decide_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from glitchtrace.audit import judgement

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 4000)
    p = rng.dirichlet(np.ones(3), 4000)
    p[np.arange(4000), truth] += 4
    p /= p.sum(axis=1, keepdims=True)
    labels = np.where(rng.random(4000) < 0.1, (truth + 1) % 3, truth)
    width = {}
    for rows in (4000, 400):
        monkeypatch.setattr(judgement, "_FITTED_ROWS", rows)
        found = judgement.judge({"one": p}, labels, 3, 0.1, 0)
        width[rows] = found.high - found.low
        assert found.low <= (labels != truth).sum() <= found.high
    assert 2 < width[400] / width[4000] < 5  # sqrt(10)


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(
    codes=st.lists(st.integers(0, 9), min_size=3, max_size=60),
    table=st.booleans(),
    step=st.sampled_from([0.0, 1e-4, 1.0]),
)
def test_duplicates_are_a_partition_of_the_rows(codes: list[int], table: bool, step: float) -> None:
    from glitchtrace.audit import neighbourhood

    n = len(codes)
    matrix = (
        np.array(codes, dtype=np.float32)[:, None]
        + np.float32(step) * np.arange(n, dtype=np.float32)[:, None]
    )
    hashes = np.array([f"{value!r}" for value in matrix[:, 0].tolist()], dtype=object)
    near, distances = neighbourhood.nearest(matrix, neighbourhood.NEIGHBOURS, 0)
    found = neighbourhood.duplicates(hashes, matrix, near, distances, table=table)
    # The first row of a cluster stands for it and for itself; the copies and the first rows are all rows, once.
    assert (found.cluster <= np.arange(n)).all()
    assert (found.cluster[found.cluster] == found.cluster).all()
    assert found.twin.sum() + len(set(found.cluster)) == n
    for row in range(n):
        assert found.equal[row] == np.flatnonzero(hashes == hashes[row])[0]
    for value in set(hashes):
        assert len(set(found.cluster[hashes == value])) == 1


@hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
@hypothesis.given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.sampled_from(["", "", "a", "b", "c"])),
        min_size=4, max_size=12,
    ),
    near=st.booleans(),
)  # fmt: skip
def test_of_equal_rows_one_stays_of_each_label_that_repairs_leave(
    rows: list[tuple[int, str, str]], near: bool
) -> None:
    """Rows: content, label, and the label proposed where the one observed is called wrong."""
    from glitchtrace.audit import verdicts
    from glitchtrace.audit.cleaning import proposed
    from glitchtrace.audit.samples import from_arrays
    from glitchtrace.audit.settings import Settings

    rows = [*rows, (3, "c", ""), (4, "a", "")]
    n, none = len(rows), np.full(len(rows), "", dtype=object)
    content = np.array([each[0] for each in rows])
    labels = np.array([each[1] for each in rows], dtype=object)
    # Equal rows of one label have one proposal, though a limit may leave some of them unflagged.
    told: dict[tuple[int, str], str] = {}
    for key, label, new in rows:
        if new != label:
            told.setdefault((key, label), new)
    flags = np.array([new not in ("", label) for _, label, new in rows])
    new = np.array([told.get((key, label), "") for key, label, _ in rows], dtype=object)
    flags &= new != ""
    equal = np.array([np.flatnonzero(content == each)[0] for each in content])
    cluster = np.where(content < 2, np.flatnonzero(content < 2)[0] if (content < 2).any() else 0, equal)
    cluster = cluster if near else equal
    zero, no = np.zeros(n), np.zeros(n, dtype=bool)
    evidence = verdicts.Evidence(
        zero + 0.5 * flags, zero, flags, new, zero, zero, zero, zero, no, none, zero,
        np.where(cluster == np.arange(n), -1, cluster), equal, True, none, no, ~no, [()] * n, 0, {}, {}, {},
    )  # fmt: skip
    samples = from_arrays(content[:, None].astype(float), labels, Settings())
    table = verdicts.issues(samples, evidence).set_index("row", drop=False)
    repairs = proposed(table)
    after = [repairs.labels.get(row, labels[row]) for row in range(n)]
    stays = [row for row in range(n) if row not in repairs.dropped]
    assert len({(content[row], after[row]) for row in stays}) == len(stays)
    for row in np.flatnonzero(flags):  # what is called wrong stays nowhere, and what is proposed is there
        assert all((content[other], after[other]) != (content[row], labels[row]) or new[row] == labels[row]
                   or (labels[other] != labels[row] and other in repairs.labels) for other in stays)  # fmt: skip
        assert (content[row], new[row]) in {(content[other], after[other]) for other in stays}
    assert {(content[row], after[row]) for row in range(n) if not told.get((content[row], labels[row]))} <= {
        (content[row], after[row]) for row in stays
    }
    for row in range(n):  # what a row repeats stays, and a row that contradicts an equal one says so
        assert table.duplicate_of[row] == "" or int(table.duplicate_of[row]) in stays
        if row in stays and len(set(labels[content == content[row]])) > 1:
            assert "equals" in table.evidence[row]


def test_copies_of_a_wrong_row_are_counted_and_dropped_when_it_is_relabelled() -> None:
    X, names, wrong = noisy_wine(0.15, 0)
    rows = np.r_[np.arange(len(X)), wrong, np.setdiff1d(np.arange(len(X)), wrong)[:4]]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    p = cross_val_predict(model, X, names, cv=StratifiedKFold(5), method="predict_proba")[rows]
    X, names = X[rows], names[rows]
    found = glitchtrace.audit(X, names, probabilities=p, gain_repeats=0)
    assert found.summary["counts"]["near duplicate"] == len(wrong) + 4
    labels, keep = found.repaired(names)
    relabelled = np.flatnonzero(labels != names)
    assert len(set(relabelled) & set(wrong)) > 0.8 * len(wrong)
    assert (relabelled < len(keep) - len(wrong) - 4).all()
    np.testing.assert_array_equal(keep, np.arange(len(keep)) < len(keep) - len(wrong) - 4)


def test_with_times_the_past_alone_judges() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = (X[:, 0] > 0).astype(int)
    times = rng.permutation(400).astype(float)
    late = times >= 320
    new = late & (X[:, 0] > 1)
    y[new] = 2  # a class that the past does not know accuses nobody
    found = glitchtrace.audit(X, y, time=times, gain_repeats=0)
    issues = found.issues.set_index("row")
    unknown = issues.suspicion.isna()
    assert set(issues.index[unknown]) == set(np.flatnonzero((times < 80) | new))
    assert set(issues.verdict[unknown]) == {"clean"}
    assert set(issues.evidence[unknown]) == {"its label was not judged"}
    assert found.summary["facts"]["without_past"] == unknown.sum()
    assert "earlier folds" in found.summary["facts"]["judges"]
    # What comes later changes nothing of what was said before.
    later = y.copy()
    later[times >= 240] = rng.integers(0, 2, (times >= 240).sum())
    from glitchtrace.audit.cross_fit import compare_learners, grouped_folds
    from glitchtrace.audit.representation import Representation, standardised

    views = Representation(standardised(X), None, "")
    fold = grouped_folds(y, 5, 0, None, times)
    one, two = (compare_learners(views, each, 3, fold, seed=0, times=times).experts for each in (y, later))
    early = (times >= 80) & (times < 240)
    for name in set(one) & set(two):
        np.testing.assert_array_equal(one[name][early], two[name][early])


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(
    times=st.lists(st.integers(0, 9), min_size=2, max_size=60).filter(lambda values: len(set(values)) > 1),
    people=st.integers(2, 20),
    folds=st.integers(2, 6),
)
def test_the_past_is_earlier_than_all_that_it_judges_and_of_other_groups(
    times: list[int], people: int, folds: int
) -> None:
    from glitchtrace.audit.cross_fit import grouped_folds, may_train

    when = np.array(times, dtype=float)
    groups = np.arange(len(when)) % people
    fold = grouped_folds(np.zeros(len(when), dtype=int), folds, 0, groups, when)
    assert len({fold[when == time].min() for time in times}) > 1
    for number in set(fold):
        inside, past = fold == number, may_train(fold, number, when, groups)
        assert not past.any() or when[past].max() < when[inside].min()
        assert not set(groups[past]) & set(groups[inside])


def test_groups_that_recur_in_every_stretch_are_judged_by_the_past_of_others() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = (X[:, 0] > 0).astype(int)
    found = glitchtrace.audit(X, y, group=np.arange(300) % 30, time=np.arange(300), gain_repeats=0)
    assert found.summary["facts"]["without_past"] == 60


def test_rows_without_a_time_are_not_judged_and_judge_none() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = (X[:, 0] > 0).astype(int)
    days = pd.Series(pd.date_range("2021-01-01", periods=300))
    days[[7, 290]] = pd.NaT
    found = glitchtrace.audit(X, y, time=days, gain_repeats=0)
    assert found.issues.set_index("row").suspicion[[7, 290]].isna().all()
    assert "Rows without a time: 2 (the first: row 7)" in " ".join(found.summary["notes"])


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2021-01-31"] * 40, "holds one time alone, so no row has a past"),
        ([None] * 40, "holds no time"),
        (["2021-01-31"] * 20 + ["05-Jan-2021"] * 20, "row 20 holds '05-Jan-2021', neither a number nor a date"),
        (["soon", "late"] * 20, "row 0 holds 'soon'"),
    ],
)  # fmt: skip
def test_a_time_that_orders_nothing_is_refused_with_its_reason(times: list[object], message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        glitchtrace.audit(np.random.default_rng(0).normal(size=(40, 2)), [0, 1] * 20, time=times)


def test_groups_that_keep_everything_from_learning_are_named() -> None:
    X, y = load_wine(return_X_y=True)
    found = glitchtrace.audit(X, y, group=y, gain_repeats=0)
    assert found.summary["facts"]["unjudged"].endswith("with this group, and without it one does")


def test_what_nobody_could_judge_has_no_suspicion(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc")).assign(y=rng.integers(0, 2, 200))
    frame.loc[3, ["a", "b", "c"]] = frame.loc[9, ["a", "b", "c"]]
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = audit_path(tmp_path / "t.csv", label="y", out=tmp_path / "out", gain_repeats=0)
    issues = found.issues.set_index("row")
    assert "unjudged" in found.summary["facts"]
    assert issues.suspicion[9] == 1.0
    assert issues.suspicion[issues.verdict == "clean"].isna().all()
    assert pd.read_csv(tmp_path / "out/issues.csv").suspicion.isna().sum() == issues.suspicion.isna().sum()
    assert "NaN" not in (tmp_path / "out/report.html").read_text()


def test_the_same_input_gives_the_same_bytes_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = example.write(tmp_path)
    for name in ("one", "two"):
        audit_path(path, label="diagnosis", out=tmp_path / name, gain_repeats=0)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_a_job_that_is_killed_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = example.write(tmp_path)
    settings = {"label": "diagnosis", "gain_repeats": 1}
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("glitchtrace.audit.outputs.write", lambda *a: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            run_audit(data=str(path), settings=settings, issues=str(out / "issues.parquet"))
    monkeypatch.setattr("glitchtrace.audit.detection.compare_learners", lambda *a, **k: pytest.fail("again"))
    monkeypatch.setattr("glitchtrace.audit.gain.measure", lambda *a, **k: pytest.fail("again"))
    run_audit(data=str(path), settings=settings, issues=str(out / "issues.parquet"))
    assert (out / "report.html").is_file()
    assert not (out / "stages").exists()


def fewer_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lines alone learn, which takes the least time."""
    from glitchtrace.audit.learners import learners

    def lines(*given: Any) -> dict[str, Any]:
        return {name: each for name, each in learners(*given).items() if name.startswith("linear")}

    for module in ("cross_fit", "detection", "gain"):
        monkeypatch.setattr(f"glitchtrace.audit.{module}.learners", lines)


@pytest.mark.parametrize("jury", [False, True])
def test_an_audit_in_the_folder_of_another_equals_a_fresh_one(
    jury: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer_learners(monkeypatch)
    rng = np.random.default_rng(0)
    y = np.arange(80) % 4
    frame = pd.DataFrame(y[:, None] * [1, 0.5, -1] + rng.normal(0, 0.3, (80, 3)), columns=list("abc"))
    frame = frame.assign(person=np.arange(80) // 2, day=rng.permutation(80), word=rng.choice(list("uvw"), 80))
    wrong = frame.assign(y=np.where(np.arange(80) < 8, (y + 1) % 4, y))
    turned = wrong.assign(y=np.r_[wrong.y[40:], wrong.y[:40]])  # sums and counts are the same
    other = wrong.assign(a=wrong.a.to_numpy()[::-1])
    classes, numbers = {"task": "classes"}, {"task": "numbers"}
    steps: list[tuple[pd.DataFrame, dict[str, Any]]] = [
        (wrong, classes), (wrong, numbers), (wrong, classes), (turned, classes), (other, classes),
        (wrong, {**classes, "group": "person"}), (wrong, {**classes, "time": "day"}), (wrong, {**classes, "folds": 4}),
        (wrong, {**classes, "seed": 1}), (wrong, {**classes, "max_false": 0.5}), (wrong, {**classes, "text": "word"}),
    ]  # fmt: skip
    if jury:
        monkeypatch.setattr("glitchtrace.audit.judgement._JURY_ROWS", (60, 1000))
        steps = [steps[number] for number in (0, 3, 4, 5, 9)]
    for data, settings in steps:
        data.to_csv(tmp_path / "t.csv", index=False)
        asked = {"label": "y", "gain_repeats": 0 if jury else 1, **settings}
        found = audit_path(tmp_path / "t.csv", out=tmp_path / "out", **asked)
        fresh = audit_path(tmp_path / "t.csv", **asked)
        pd.testing.assert_frame_equal(found.issues, fresh.issues)
        assert str(found.summary) == str(fresh.summary)
        assert found.gain == fresh.gain
    for stage in ("detection.compare_learners", "detection.judge_by_jury", "gain.measure"):
        monkeypatch.setattr(f"glitchtrace.audit.{stage}", lambda *a, **k: pytest.fail("again"))
    again = audit_path(tmp_path / "t.csv", out=tmp_path / "out", **asked)
    pd.testing.assert_frame_equal(again.issues, fresh.issues)
    assert str(again.summary) == str(fresh.summary)
    assert again.gain == fresh.gain


def test_a_stage_is_taken_over_of_equal_values_alone(tmp_path: Path) -> None:
    def views(lines: Any, trees: Any = None, cuts: Any = ()) -> Representation:
        return Representation(np.array(lines), trees, "the same words", cuts)

    of_rows = views([[1.0, 2.0], [3.0, 4.0]])
    given: dict[str, Any] = {"views": of_rows, "y": np.array([0, 1, 0]), "fold": np.array([0, 1, 1]), "times": None,
                             "units": None, "losses": {"a": 1.0, "b": 2.0}, "classes": 2, "judging": True}  # fmt: skip
    others = [
        given, {**given, "y": np.array([0, 0, 1])}, {**given, "y": np.array([0, 1, 0], dtype=float)},
        {**given, "fold": np.array([1, 0, 1])}, {**given, "times": np.array([0.0, 1.0, 2.0])},
        {**given, "units": np.array([0, 1, 1])}, {**given, "units": np.array([0, 1, 1]), "fold": None},
        {**given, "units": None, "times": np.array([0, 1, 1])}, {**given, "classes": 0}, {**given, "judging": False},
        {**given, "losses": {"a": 2.0, "b": 1.0}}, {**given, "views": views([[1.0, 2.0], [3.0, 5.0]])},
        {**given, "views": views([[1.0, 2.0, 3.0, 4.0]])}, {**given, "views": views(of_rows.lines, of_rows.lines)},
        {**given, "views": views(of_rows.lines, None, (("a", 0, 2),))},
    ]  # fmt: skip
    store, made = Store(tmp_path), []

    def make(**found: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        made.append(found)
        return {"place": np.array(len(made))}, {"place": len(made)}

    for number, each in enumerate(others, 1):
        equal = {
            name: value.copy() if isinstance(value, np.ndarray) else value for name, value in each.items()
        }
        for values in (each, equal):
            arrays, value = store.stage("one", values, make, "glitchtrace.audit.store")
            assert int(arrays["place"]) == value["place"] == number
    assert made == others


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (
            "a,b\n1,x\n2,y\n",
            ["--label", "c"],
            "no column 'c' for label; give one of these, or take off what stands above the line of names: a, b",
        ),
        ("a,b\n1,x\n2,y\n", [], "say which column is the label"),
        ("a,b\n1,\n2,\n", ["--label", "b"], "holds no labels"),
        ("a,b\n1,x\n", ["--label", "b"], "at least two"),
        ("a,b\n7,x\n7,y\n", ["--label", "b"], "no column but the label can be used"),
        ("a,b\n1,x\n2,y\n", ["--label", "b", "--max-false", "2"], "max_false: 2.0"),
        (
            "a,b\n1,x\n2,y\n",
            ["--label", "b", "--trusted", "nowhere.csv"],
            "nowhere.csv: there is no such file",
        ),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, arguments: list[str], message: str
) -> None:
    (tmp_path / "t.csv").write_text(content)
    assert main(["audit", str(tmp_path / "t.csv"), *arguments, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "no file or folder is named; give its path"),
        ("nowhere", "nowhere: there is no such file or folder"),
        ("https://a.example/b.csv", "https://a.example/b.csv: this is an address, not a path; download it"),
        ("book.xlsx", "unknown kind of file '.xlsx'; save its sheet as CSV"),
        ("book.json", "unknown kind of file '.json'; write it as one of these"),
        ("tables", "no pictures (.jpg, .jpeg, .png, …) lie in this folder; give another, or a file"),
    ],
)
def test_what_is_no_file_of_samples_is_told_with_its_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tables").mkdir()
    for file in ("book.xlsx", "book.json", "tables/t.csv"):
        Path(file).write_text("a,b\n1,x\n2,y\n")
    assert main(["audit", path, "--label", "b"]) == 1
    assert message in capsys.readouterr().err


def test_the_command_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"glitchtrace {glitchtrace.__version__}\n")


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GlitchtraceError, match="3 rows where the data have 4"):
        glitchtrace.audit(np.zeros((4, 2)), [0, 1, 0])
    with pytest.raises(GlitchtraceError, match="row 1, column 0: nan is not finite"):
        glitchtrace.audit(np.array([[0.0], [np.nan]]), [0, 1])
    with pytest.raises(GlitchtraceError, match="logits"):
        glitchtrace.audit(np.eye(4), [0, 1, 0, 1], probabilities=np.full((4, 2), 3.0))
