import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation import detection

# Few distinct values, so that ties are the rule; infinities are legal scores.
SCORES = st.sampled_from([-math.inf, -2.5, -1.0, 0.0, 1e-300, 1.0, 7.0, math.inf])


@st.composite
def problems(draw, maximum=9):
    """Scores and glitches, with at least one glitch and one clean sample."""
    size = draw(st.integers(2, maximum))
    scores = np.array(draw(st.lists(SCORES, min_size=size, max_size=size)))
    glitch = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    first, second = draw(st.permutations(range(size)))[:2]
    glitch[first], glitch[second] = True, False
    return scores, glitch


def loop_top(scores, count):
    """The indices of the highest scores by selection; ties go to the lower index."""
    left = list(range(len(scores)))
    chosen = []
    for _ in range(count):
        best = left[0]
        for index in left[1:]:
            if scores[index] > scores[best]:
                best = index
        left.remove(best)
        chosen.append(best)
    return chosen


@given(problems())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_f1_at_the_known_ratio_equals_a_loop_and_scikit_learn(problem):
    scores, glitch = problem
    flagged = np.zeros(len(scores), dtype=bool)
    flagged[loop_top(scores, int(glitch.sum()))] = True
    expected = f1_score(glitch, flagged, zero_division=0.0)
    assert detection.f1_known_ratio(scores, glitch) == pytest.approx(expected, abs=1e-12)
    precision, recall, f1 = detection.precision_recall_f1(flagged, glitch)
    assert precision == recall == pytest.approx(f1, abs=1e-12)


@given(problems(maximum=7))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_expected_f1_is_the_mean_over_all_ways_to_break_ties(problem):
    scores, glitch = problem
    count = int(glitch.sum())
    outcomes = []
    for order in itertools.permutations(range(len(scores))):
        top = sorted(order, key=lambda index: -scores[index])[:count]
        outcomes.append(glitch[top].sum() / count)
    assert detection.f1_expected(scores, glitch) == pytest.approx(np.mean(outcomes), abs=1e-12)


@given(problems(), st.floats(0.0, 1.0))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_the_published_rule_flags_everything_from_the_threshold_on(problem, contamination):
    scores, glitch = problem
    position = min(int(contamination * len(scores)), len(scores) - 1)
    threshold = sorted(scores, reverse=True)[position]
    flagged = [score >= threshold for score in scores]
    expected = f1_score(glitch, flagged)
    assert detection.f1_published(scores, glitch, contamination) == pytest.approx(expected, abs=1e-12)


def test_the_published_rule_flags_one_sample_too_many():
    scores = np.arange(100.0)[::-1]
    glitch = np.arange(100) < 10
    assert detection.f1_known_ratio(scores, glitch) == 1.0
    assert detection.f1_published(scores, glitch) == pytest.approx(20 / 21)


def test_the_published_rule_multiplies_as_the_program_does():
    # 29 / 100 · 100 is 28.999999999999996: the program then flags k samples instead of k + 1.
    scores = np.arange(100.0)[::-1]
    assert detection.f1_published(scores, np.arange(100) < 29) == 1.0
    assert detection.f1_published(scores, np.arange(100) < 30) == pytest.approx(60 / 61)


def test_the_published_rule_with_the_requested_ratio_of_an_anomaly_pipeline():
    # 600 anomalies appended to 6,000 samples, threshold at 10 % of 6,600: at most 1200 / 1261 (section 7).
    glitch = np.arange(6600) >= 6000
    scores = glitch + np.linspace(0.0, 0.5, 6600)
    assert detection.f1_published(scores, glitch, 0.1) == pytest.approx(1200 / 1261)
    assert detection.f1_published(scores, glitch) == pytest.approx(1200 / 1201)


@pytest.mark.parametrize("constant", [0.0, -math.inf, math.inf])
def test_a_constant_score_flags_all_by_the_published_rule_and_finds_the_base_rate(constant):
    glitch = np.arange(200) % 10 == 3
    scores = np.full(200, constant)
    assert detection.f1_published(scores, glitch) == pytest.approx(2 * 0.1 / 1.1)
    assert detection.f1_expected(scores, glitch) == pytest.approx(0.1)
    assert detection.auroc(scores, glitch) == pytest.approx(0.5)
    assert detection.average_precision(scores, glitch) == pytest.approx(0.1)


@given(problems())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_ranking_measures_equal_pair_counting_and_survive_infinities(problem):
    scores, glitch = problem
    pairs = [(scores[i], scores[j]) for i in np.flatnonzero(glitch) for j in np.flatnonzero(~glitch)]
    favourable = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
    assert detection.auroc(scores, glitch) == pytest.approx(favourable / len(pairs), abs=1e-12)
    steps, found = 0.0, 0
    for level in sorted(set(scores), reverse=True):
        flagged = scores >= level
        hits = int((flagged & glitch).sum())
        steps += (hits - found) / glitch.sum() * hits / flagged.sum()
        found = hits
    assert detection.average_precision(scores, glitch) == pytest.approx(steps, abs=1e-12)


def test_ranking_measures_equal_scikit_learn_on_finite_scores():
    rng = np.random.default_rng(3)
    scores = np.round(rng.normal(size=500), 1)
    glitch = rng.random(500) < 0.2
    assert detection.auroc(scores, glitch) == pytest.approx(roc_auc_score(glitch, scores), abs=1e-12)
    expected = average_precision_score(glitch, scores)
    assert detection.average_precision(scores, glitch) == pytest.approx(expected, abs=1e-12)


@given(problems())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_a_strictly_increasing_transformation_changes_nothing(problem):
    scores, glitch = problem
    before = detection.detection_metrics(scores, glitch)
    after = detection.detection_metrics(np.cbrt(scores), glitch)
    assert before == pytest.approx(after, nan_ok=True, abs=1e-12)


@given(problems())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_without_ties_the_expected_f1_is_the_f1(problem):
    _, glitch = problem
    scores = np.random.default_rng(len(glitch)).permutation(len(glitch)).astype(float)
    assert detection.f1_expected(scores, glitch) == pytest.approx(detection.f1_known_ratio(scores, glitch))


def test_precision_at_depth_counts_hits_and_is_undefined_beyond_the_samples():
    glitch = np.zeros(60, dtype=bool)
    glitch[[0, 1, 2, 20, 59]] = True
    scores = -np.arange(60.0)
    assert detection.precision_at(scores, glitch, 10) == pytest.approx(0.3)
    assert detection.precision_at(scores, glitch, 50) == pytest.approx(4 / 50)
    assert detection.precision_at(scores, glitch, 60) == pytest.approx(5 / 60)
    assert math.isnan(detection.precision_at(scores, glitch, 100))


def test_ties_at_the_depth_go_to_the_lower_index():
    glitch = np.arange(20) < 10
    assert detection.precision_at(np.zeros(20), glitch, 10) == 1.0
    assert detection.precision_at(np.zeros(20), ~glitch, 10) == 0.0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_with_nothing_to_separate_every_measure_is_nan(share):
    glitch = np.full(120, bool(share))
    measures = detection.detection_metrics(np.arange(120.0), glitch)
    assert len(measures) == 8
    assert all(math.isnan(value) for value in measures.values())
    assert all(math.isnan(value) for value in detection.precision_recall_f1(np.ones(120, dtype=bool), glitch))


def test_nothing_flagged_has_no_precision():
    precision, recall, f1 = detection.precision_recall_f1(
        np.zeros(4, dtype=bool), np.array([True, False, False, True])
    )
    assert math.isnan(precision)
    assert recall == f1 == 0.0


def test_a_nan_score_is_refused_by_name_and_infinities_are_not():
    detection.check_scores("PCID", np.array([math.inf, -math.inf, 0.0]))
    with pytest.raises(GlitchtraceError, match=r"signal 'PCID' is NaN for 2 of 3 samples"):
        detection.check_scores("PCID", np.array([math.nan, 1.0, math.nan]))
