"""Statistics against SciPy's own, by known coverage, and at their edges."""

import json
import math
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from qstudy.measure import statistics as s

samples = st.lists(
    st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=2, max_size=12
)


@given(
    st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
)
def test_wilson_is_scipys(case):
    correct, n = case
    ours = s.wilson(correct, n)
    theirs = scipy.stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert ours.value == 100 * correct / n
    assert ours.low == pytest.approx(100 * theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(100 * theirs.high, abs=1e-9)
    assert 0 <= ours.low <= ours.value <= ours.high <= 100


@given(samples)
def test_t_interval_and_p_are_scipys(values):
    ours = s.t_interval(values)
    if len(set(values)) == 1:
        assert (ours.low, ours.high) == (values[0], values[0])
        assert s.t_p_value(values) == (1.0 if values[0] == 0 else 0.0)
        return
    test = scipy.stats.ttest_1samp(values, 0.0)
    theirs = test.confidence_interval(0.95)
    assert ours.low == pytest.approx(theirs.low, rel=1e-9, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, rel=1e-9, abs=1e-9)
    assert s.t_p_value(values) == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)


def test_prediction_interval_of_a_worked_example():
    # n 5, mean 3, s = sqrt(2.5), t(4, 0.975) = 2.776445 from printed tables.
    ours = s.prediction_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5) * math.sqrt(1 + 1 / 5)
    assert (ours.value, ours.n) == (3, 5)
    assert (ours.low, ours.high) == pytest.approx((3 - half, 3 + half), abs=1e-5)


def test_prediction_interval_holds_the_next_draw_95_times_in_100():
    rng = np.random.default_rng(1)
    draws = rng.normal(70, 0.3, size=(2000, 4))
    inside = [
        (i := s.prediction_interval(row[:3])).low <= row[3] <= i.high for row in draws
    ]
    assert 0.935 <= np.mean(inside) <= 0.965


def test_prediction_interval_of_equal_seeds_holds_that_value():
    # 0.1 three times sums to more than 0.3: the mean must not drift by an ulp.
    interval = s.prediction_interval([0.1, 0.1, 0.1])
    assert interval.low == interval.high == 0.1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_by_its_definition(p):
    ours = s.holm(p)
    # Adjusted p_i: the largest (m - k) p_(k) over all k up to i's rank.
    ranked = sorted(range(len(p)), key=lambda i: p[i])
    for rank, i in enumerate(ranked):
        steps = [(len(p) - k) * p[j] for k, j in enumerate(ranked[: rank + 1])]
        assert ours[i] == pytest.approx(min(1.0, max(steps)))


def test_holm_of_a_published_example():
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert s.holm([0.03, 0.01, 0.05, 0.02, 0.04]) == pytest.approx(
        [0.09, 0.05, 0.09, 0.08, 0.09]
    )


def drop_data(n, *, seed, worse=0.06, better=0.03):
    joint = np.random.default_rng(seed).choice(
        4, size=n, p=[0.1, better, worse, 0.9 - worse - better]
    )
    baseline = np.isin(joint, (2, 3))
    return baseline, np.isin(joint, (1, 3))


def test_paired_drop_is_the_image_bootstrap():
    baseline, candidate = drop_data(800, seed=3)
    ours = s.paired_drop(baseline, candidate, seed=1, resamples=20_000)
    theirs = scipy.stats.bootstrap(
        (baseline.astype(float), candidate.astype(float)),
        lambda a, b, axis: 100 * (a.mean(axis=axis) - b.mean(axis=axis)),
        paired=True,
        method="percentile",
        n_resamples=5_000,
        batch=500,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert ours.value == pytest.approx(100 * (baseline.mean() - candidate.mean()))
    # The standard error of such a percentile is about 0.03 points here.
    assert ours.low == pytest.approx(theirs.low, abs=0.15)
    assert ours.high == pytest.approx(theirs.high, abs=0.15)


def test_paired_drop_covers_the_truth():
    covered = [
        (i := s.paired_drop(*drop_data(600, seed=k), seed=k, resamples=500)).low
        <= 3.0
        <= i.high
        for k in range(400)
    ]
    assert 0.92 <= np.mean(covered) <= 0.98


def test_paired_drop_sign_seed_and_agreement():
    right, wrong = np.ones(50, bool), np.zeros(50, bool)
    assert s.paired_drop(right, wrong) == s.Interval(100, 100, 100, 50)
    assert s.paired_drop(wrong, right).value == -100
    assert s.paired_drop(right, right) == s.Interval(0, 0, 0, 50)

    def drawn(seed):
        return s.paired_drop(*drop_data(9000, seed=0), seed=seed, resamples=100)

    assert drawn(5) == drawn(5) != drawn(6)


def test_median_ratio_keeps_processes_paired():
    # Each process is slower than the one before it, the ratio is 2 in every one.
    candidate = np.array([1.0, 1.5, 2.0, 4.0, 9.0])
    assert s.median_ratio(2 * candidate, candidate) == s.Interval(2, 2, 2, 5)


def test_median_ratio_is_formed_inside_each_process():
    # Four of five processes say faster; the two medians come from different processes.
    before = [3.3, 3.1, 3.6, 6.6, 4.3]
    after = [2.8, 2.7, 4.0, 5.9, 3.8]
    found = s.median_ratio(before, after)
    assert found.value == pytest.approx(4.3 / 3.8)
    assert np.median(before) / np.median(after) < 1 < found.value
    assert found.low == pytest.approx(3.6 / 4.0)


def test_median_ratio_covers_the_truth():
    rng = np.random.default_rng(4)
    noise = np.exp(rng.normal(0, 0.05, size=(400, 2, 10)))
    covered = [
        (i := s.median_ratio(3 * a, b, resamples=500)).low <= 3 <= i.high
        for a, b in noise
    ]
    assert np.mean(covered) >= 0.92


def test_median_interval_is_scipys():
    values = np.random.default_rng(0).gamma(3, size=25)
    ours = s.median_interval(values, resamples=20_000)
    theirs = scipy.stats.bootstrap(
        (values,), np.median, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert ours.value == np.median(values)
    assert ours.low == pytest.approx(theirs.low, rel=0.03)
    assert ours.high == pytest.approx(theirs.high, rel=0.03)
    assert s.median_interval([4.0]) == s.Interval(4, 4, 4, 1)


def test_verdicts_at_their_thresholds():
    assert s.size_verdict(3.5) == "holds"
    assert s.size_verdict(3.4999) == "fails"
    assert s.speed_verdict(2.01, 3) == "holds"
    assert s.speed_verdict(4.01, 5) == "holds, above 4"
    assert s.speed_verdict(4.0, 5) == "holds"
    assert s.speed_verdict(2.0, 3) == "undecided here"
    assert s.speed_verdict(1.5, 2.0) == "undecided here"
    assert s.speed_verdict(0.5, 1.99) == "fails"
    assert s.accuracy_verdict(1.0) == "holds"
    assert s.accuracy_verdict(1.01) == "undecided here"
    assert s.accuracy_verdict(2.0, low=1.0) == "undecided here"
    assert s.accuracy_verdict(2.0, low=1.01) == "fails"
    assert s.lossless(0.2) and not s.lossless(0.21)


NAN = float("nan")


@pytest.mark.parametrize(
    "call",
    [
        lambda: s.Interval(1, 2, 1, 5),
        lambda: s.Interval(NAN, 0, 1, 5),
        lambda: s.Interval(0, 0, 1, 0),
        lambda: s.wilson(0, 0),
        lambda: s.wilson(6, 5),
        lambda: s.paired_drop([], []),
        lambda: s.paired_drop([1, 0], [1]),
        lambda: s.paired_drop([1, NAN], [1, 0]),
        lambda: s.paired_drop([1, 2], [1, 0]),
        lambda: s.paired_drop([[1, 0]], [[1, 0]]),
        lambda: s.paired_drop([1, 0], [1, 0], resamples=10),
        lambda: s.median_ratio([1.0], [1.0, 2.0]),
        lambda: s.median_ratio([1.0], [0.0]),
        lambda: s.median_ratio([NAN], [1.0]),
        lambda: s.median_interval([]),
        lambda: s.t_interval([1.0]),
        lambda: s.t_p_value([1.0, float("inf")]),
        lambda: s.prediction_interval([]),
        lambda: s.holm([]),
        lambda: s.holm([0.5, 1.5]),
        lambda: s.size_verdict(NAN),
        lambda: s.size_verdict(0),
        lambda: s.speed_verdict(3, 2),
        lambda: s.speed_verdict(NAN, 2),
        lambda: s.speed_verdict(0, 2),
        lambda: s.accuracy_verdict(NAN),
        lambda: s.accuracy_verdict(0.5, low=0.7),
        lambda: s.lossless(NAN),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(ValueError) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_intervals_are_plain_json():
    for interval in (
        s.wilson(3, 5),
        s.paired_drop([1, 0, 1], [1, 1, 0]),
        s.median_ratio([1.0, 2.0], [1.0, 1.0]),
        s.t_interval([1, 2]),
        s.prediction_interval([1, 2]),
    ):
        assert json.loads(json.dumps(asdict(interval))) == asdict(interval)


def test_statistics_import_no_torch():
    code = (
        "import sys; import qstudy.measure.statistics, qstudy.measure.accuracy;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
