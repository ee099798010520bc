"""Intervals over texts: what is drawn, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qstudy.measure import clusters


def test_the_estimate_is_the_ratio_of_sums_and_lies_in_its_interval():
    rng = np.random.default_rng(0)
    counts = rng.integers(50, 200, 60)
    amounts = rng.binomial(counts, 0.3)
    found = clusters.by_text(100 * amounts, counts, np.arange(60) % 6)
    assert found.value == pytest.approx(100 * amounts.sum() / counts.sum())
    assert found.low < found.value < found.high and found.n == 60


def test_texts_are_drawn_within_their_genre():
    # Genres differ and texts of one do not: nothing is left to chance.
    strata = np.repeat([0, 1, 2], 5)
    found = clusters.by_text(strata * 10.0, np.ones(15), strata)
    assert found.low == pytest.approx(found.value) == pytest.approx(found.high)
    loose = clusters.by_text(strata * 10.0, np.ones(15), np.zeros(15))
    assert loose.high - loose.low > 5


def test_alike_words_widen_the_interval_beyond_that_of_single_words():
    rng = np.random.default_rng(1)
    rate = rng.uniform(0.1, 0.9, 40)
    hits = rng.binomial(100, rate)
    by_text = clusters.by_text(hits, np.full(40, 100), np.zeros(40))
    share = hits.sum() / 4000
    single = 2 * 1.96 * np.sqrt(share * (1 - share) / 4000)
    assert by_text.high - by_text.low > 2 * single


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(150):
        amounts = rng.normal(3.0, 1.0, 40)
        found = clusters.by_text(
            amounts, np.ones(40), np.arange(40) % 4, seed=seed, resamples=1000
        )
        covered += found.low <= 3.0 <= found.high
    assert 0.87 <= covered / 150 <= 0.99


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16))
def test_the_same_seed_gives_the_same_interval(seed):
    amounts = np.random.default_rng(seed).normal(size=12)
    one, other = (
        clusters.by_text(
            amounts, np.ones(12), np.arange(12) % 3, seed=seed, resamples=500
        )
        for _ in range(2)
    )
    assert one == other


@pytest.mark.parametrize(
    ("amounts", "counts", "strata"),
    [
        ([1.0, 2.0], [1.0], [0, 0]),
        ([], [], []),
        ([1.0, np.nan], [1.0, 1.0], [0, 0]),
        ([1.0, 2.0], [1.0, 0.0], [0, 0]),
    ],
)
def test_what_is_no_sample_is_refused(amounts, counts, strata):
    with pytest.raises(ValueError, match="text"):
        clusters.by_text(amounts, counts, strata)


def test_sums_over_members():
    found = clusters.per_text([1, 0, 1, 1], [0, 0, 2, 2], texts=3)
    assert found.tolist() == [1.0, 0.0, 2.0]
