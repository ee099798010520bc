"""The growing histogram: the same data in any batches, the same exact counts."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qstudy.numerics.histogram import BINS, MagnitudeHistogram, checked

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
LISTS = st.lists(FLOATS, min_size=1, max_size=40)
SIZES = st.sampled_from([2, 6, 64, BINS])


def filled(*batches, bins=BINS):
    histogram = MagnitudeHistogram(bins=bins)
    for batch in batches:
        histogram.add(torch.as_tensor(batch))
    return histogram


def state(histogram):
    return (
        histogram.counts.tolist(),
        histogram.width,
        histogram.low,
        histogram.high,
        histogram.total,
        histogram.largest,
    )


def cut(values, places):
    ends = [0, *sorted(places), len(values)]
    parts = [values[a:b] for a, b in pairwise(ends)]
    return [torch.tensor(part) for part in parts if part]


@settings(max_examples=50)
@given(data=st.data(), values=LISTS, bins=SIZES)
def test_any_order_and_any_split_give_the_same_histogram(data, values, bins):
    once = filled(torch.tensor(values), bins=bins)
    shuffled = data.draw(st.permutations(values))
    places = data.draw(st.lists(st.integers(0, len(values)), max_size=5))
    assert state(filled(*cut(shuffled, places), bins=bins)) == state(once)


@settings(max_examples=50)
@given(values=LISTS, bins=SIZES)
@example(values=[1e-45, 3e38], bins=6)
@example(values=[64.0, 63.999996, 0.03125], bins=BINS)
def test_the_counts_are_numpy_s_of_the_whole_quotients(values, bins):
    histogram = filled(*[torch.tensor([value]) for value in values], bins=bins)
    magnitudes = np.abs(np.array(values, np.float32).astype(np.float64))
    places = np.floor(magnitudes / histogram.width).astype(np.int64)
    wanted = np.bincount(places, minlength=bins)
    assert histogram.counts.tolist() == wanted.tolist()
    assert histogram.total == len(values)


@settings(max_examples=50)
@given(values=LISTS, bins=SIZES)
def test_the_width_is_the_smallest_power_of_two_that_holds_the_largest(values, bins):
    histogram = filled(torch.tensor(values), bins=bins)
    largest = np.abs(np.array(values, np.float32)).max().item()
    assert math.frexp(histogram.width)[0] == 0.5
    assert largest < bins * histogram.width
    assert histogram.width == 2.0**-126 or largest >= bins * histogram.width / 2


@settings(max_examples=30)
@given(values=LISTS)
def test_the_extremes_are_exact(values):
    histogram = filled(torch.tensor(values))
    exact = np.array(values, np.float32)
    assert (histogram.low, histogram.high) == (exact.min(), exact.max())
    assert histogram.largest == np.abs(exact).max()


def test_a_value_on_an_edge_belongs_to_the_bin_above():
    histogram = filled(torch.tensor([0.0, 1.0, -1.0, 1.9999999, 2.0, 3.5]), bins=4)
    assert histogram.width == 1
    assert histogram.counts.tolist() == [1, 3, 1, 1]
    assert histogram.edges().tolist() == [1, 2, 3, 4]
    assert histogram.centres().tolist() == [0.5, 1.5, 2.5, 3.5]
    histogram.add(torch.tensor([4.0]))
    assert histogram.width == 2
    assert histogram.counts.tolist() == [4, 2, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_count_like_float32(dtype):
    x = torch.randn(500, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert state(filled(x)) == state(filled(x.double()))
    assert state(filled(x.reshape(5, 4, 25))) == state(filled(x))


def test_a_batch_longer_than_one_part_is_counted_whole():
    x = torch.arange(600_000, dtype=torch.float32) % 1000
    histogram = filled(x)
    wanted = np.bincount((x.numpy() / histogram.width).astype(np.int64), minlength=BINS)
    assert histogram.counts.tolist() == wanted.tolist()


def test_memory_is_constant():
    histogram = filled(torch.randn(10))
    for power in range(-30, 30):
        histogram.add(torch.randn(50) * 2.0**power)
    assert histogram.counts.shape == (BINS,)
    assert histogram.total == 10 + 60 * 50
    assert set(vars(histogram)) == {"bins", "counts", "width", "low", "high"}


def test_zeros_and_the_smallest_values_fall_in_the_first_bin():
    histogram = filled(torch.tensor([0.0, -0.0, 1e-45, -1e-40]))
    assert histogram.counts[0] == 4
    assert histogram.width == 2.0**-126


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.empty(0, 3), r"torch.float32 and shape \(0, 3\) cannot be calibrated"),
        (torch.tensor([1, 2]), r"torch.int64 and shape \(2,\) cannot be calibrated"),
        (torch.tensor([1e9, math.nan]), "holds NaN or infinity"),
        (torch.tensor([1e9, math.inf]), "holds NaN or infinity"),
        (torch.tensor([-math.inf, 1e9]), "holds NaN or infinity"),
    ],
)
def test_a_bad_batch_is_refused_and_changes_nothing(batch, message):
    histogram = filled(torch.tensor([1.0, -2.0]))
    before = state(histogram)
    with pytest.raises(ValueError, match=message) as caught:
        histogram.add(batch)
    assert "\n" not in str(caught.value)
    assert state(histogram) == before


@pytest.mark.parametrize("bins", [-2, 0, 1, 3, 2047, True, 2.5])
def test_a_number_of_bins_that_cannot_be_halved_is_refused(bins):
    with pytest.raises(ValueError, match=f"bins {bins} is not an even whole number"):
        MagnitudeHistogram(bins=bins)


def test_what_is_checked_is_flat_and_free_of_gradients():
    x = torch.tensor([[1.0, -3.0], [2.0, 0.5]], requires_grad=True)
    values, low, high = checked(x)
    assert (values.tolist(), low, high) == ([1, -3, 2, 0.5], -3, 2)
    assert not values.requires_grad
    assert checked(x.half())[0].dtype == torch.float32
    assert checked(x.double())[0].dtype == torch.float64


def test_the_largest_float64_values_are_counted():
    values = torch.tensor([1e300, 1.0], dtype=torch.float64)
    assert filled(values).total == 2
