"""Agreement of embeddings: SciPy's figures, and exactness where a bit would decide."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from qstudy.measure import similarity

values = st.lists(st.integers(-4, 4), min_size=3, max_size=12)


def test_agreement_of_embeddings():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(30, 8))
    same = similarity.agreement(base, 2 * base)
    assert same["cosine"] == same["rank_correlation"] == pytest.approx(1)
    other = similarity.agreement(base, rng.normal(size=(30, 8)))
    assert abs(other["cosine"]) < 0.3 and abs(other["rank_correlation"]) < 0.2
    near = similarity.agreement(base, base + 0.3 * rng.normal(size=(30, 8)))
    assert near["cosine_min"] < near["cosine"] < 1


def test_cosines_are_numpys_and_ranks_are_scipys():
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=(40, 16)).astype(np.float16) for _ in range(2))
    x, y = (m.astype(float) / np.linalg.norm(m.astype(float), axis=1)[:, None]
            for m in (a, b))  # fmt: skip
    pairs = np.triu_indices(40, k=1)
    found = similarity.agreement(a, b)
    assert found["cosine"] == pytest.approx((x * y).sum(1).mean(), abs=1e-6)
    rank = scipy.stats.spearmanr((x @ x.T)[pairs], (y @ y.T)[pairs]).statistic
    assert found["rank_correlation"] == pytest.approx(rank, abs=1e-4)


def test_products_of_float16_rows_of_length_one_are_exact():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(6, 384))
    rows = (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float16)
    whole = similarity._whole(rows, "rows")
    assert (whole == np.rint(whole)).all() and np.abs(whole).max() < 2**25
    ratio = Fraction(whole[0, 0]) / Fraction(float(rows[0, 0]))
    products = whole @ whole.T
    for i in range(6):
        assert Fraction(whole[i, 7]) == ratio * Fraction(float(rows[i, 7]))
        exact = sum(Fraction(v) ** 2 for v in whole[i].tolist())
        assert Fraction(products[i, i]) == exact < 2**53


@given(values, values)
def test_rank_correlation_is_scipys_with_ties(x, y):
    n = min(len(x), len(y))
    x, y = x[:n], y[:n]
    if len(set(x)) == 1 or len(set(y)) == 1:
        with pytest.raises(ValueError, match="constant has no ranks"):
            similarity.rank_correlation(x, y)
        return
    theirs = scipy.stats.spearmanr(x, y).statistic
    assert similarity.rank_correlation(x, y) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("base", "other"),
    [
        (np.ones((3, 2)), np.ones((2, 2))),
        (np.ones((2, 2)), np.ones((2, 2))),
        (np.ones(3), np.ones(3)),
        (np.zeros((3, 2)), np.ones((3, 2))),
        (np.full((3, 2), np.nan), np.ones((3, 2))),
    ],
)
def test_what_has_no_cosine_is_refused(base, other):
    with pytest.raises(ValueError, match=r"\(n, width\)"):
        similarity.agreement(base, other)
