"""Calibrators and their searches, against exact data, NumPy, SciPy and torch."""

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from qstudy.numerics import search
from qstudy.numerics.calibration import (
    EntropyCalibrator,
    MaxCalibrator,
    MovingAverageCalibrator,
    MSECalibrator,
    PercentileCalibrator,
)
from qstudy.numerics.histogram import BINS, MagnitudeHistogram

HISTOGRAMS = [PercentileCalibrator, EntropyCalibrator, MSECalibrator]
ORDERLESS = [MaxCalibrator, *HISTOGRAMS]
ALL = [*ORDERLESS, MovingAverageCalibrator]
SEEDS = st.integers(0, 2**31)


def fed(calibrator, *batches):
    for batch in batches:
        calibrator.update(torch.as_tensor(batch))
    return calibrator


def heavy(seed, size=4000, signed=True):
    """Data whose largest values are rare, as those of activations are."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, generator=generator)
    x = x * torch.exp(torch.randn(size, generator=generator) * 0.7)
    return x if signed else x.abs()


SIGNS = torch.tensor([1.0, -1.0]).repeat(1271)[:2541]


def flat_with_outlier():
    x = torch.rand(2541, generator=torch.Generator().manual_seed(0))
    x[76] = 10.0
    return x


def squared_error(x, threshold, bits):
    """The true mean squared error on `x`, in float64 NumPy."""
    x = x.double().numpy()
    steps = 2 ** (bits - 1) - 1 if x.min() < 0 else 2**bits - 1
    step = threshold / steps
    low = -steps if x.min() < 0 else 0
    return float(np.mean((np.clip(np.rint(x / step), low, steps) * step - x) ** 2))


def naive_distributions(counts, bins, levels):
    """P and Q of the entropy search, run by run."""
    p = counts[:bins].astype(float)
    q = np.zeros(bins)
    for level in range(levels):
        run = [i for i in range(bins) if i * levels // bins == level]
        full = [i for i in run if counts[i]]
        for i in full:
            q[i] = counts[run].sum() / len(full)
    p[-1] += counts[bins:].sum()
    return p, q


def naive_entropy_threshold(x, width, levels, stride, *, as_next=False):
    magnitudes = x.abs().double().numpy()
    counts = np.bincount(np.floor(magnitudes / width).astype(int), minlength=BINS)
    if as_next:
        counts[0] = counts[1]
    used = int(np.flatnonzero(counts)[-1]) + 1
    divergences = {}
    for bins in [b for b in range(levels, used) if b % stride == 0] + [used]:
        p, q = naive_distributions(counts, bins, levels)
        divergences[min(bins * width, magnitudes.max())] = stats.entropy(p, q)
    smallest = min(divergences.values())
    return max(t for t, d in divergences.items() if d <= smallest * (1 + 1e-12))


@settings(max_examples=30)
@given(
    data=st.data(),
    values=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        min_size=1,
        max_size=30,
    ),
    sort=st.sampled_from(ORDERLESS),
)
def test_any_order_and_any_split_give_the_same_range(data, values, sort):
    once = fed(sort(), torch.tensor(values)).range()
    shuffled = torch.tensor(data.draw(st.permutations(values)))
    size = data.draw(st.integers(1, len(values)))
    assert fed(sort(), *shuffled.split(size)).range() == once
    low, high = once
    assert min(values) <= low <= high <= max(values)


def test_only_the_moving_average_depends_on_the_order():
    batches = torch.tensor([[-1.0, 1.0], [-3.0, 2.0], [-2.0, 8.0]])
    forth = fed(MovingAverageCalibrator(constant=0.5), *batches).range()
    back = fed(MovingAverageCalibrator(constant=0.5), *batches.flip(0)).range()
    assert forth == (-2.0, 4.75)
    assert back == (-1.75, 3.0)
    for sort in ORDERLESS:
        one, other = fed(sort(), *batches), fed(sort(), *batches.flip(0))
        assert one.range() == other.range()


@settings(max_examples=25)
@given(seed=SEEDS, constant=st.sampled_from([0.01, 0.1, 1.0]))
def test_the_moving_average_is_that_of_torch_s_observer(seed, constant):
    observer = pytest.importorskip("torch.ao.quantization.observer")
    batches = heavy(seed, 60).reshape(6, 10)
    theirs = observer.MovingAverageMinMaxObserver(averaging_constant=constant)
    for batch in batches:
        theirs(batch)
    low, high = fed(MovingAverageCalibrator(constant=constant), *batches).range()
    assert low == pytest.approx(theirs.min_val.item(), rel=1e-5)
    assert high == pytest.approx(theirs.max_val.item(), rel=1e-5)
    if constant == 1:
        assert (low, high) == (batches[-1].min(), batches[-1].max())


@settings(max_examples=25)
@given(seed=SEEDS, shift=st.floats(-5, 5))
def test_max_is_exact(seed, shift):
    x = heavy(seed, 50) + shift
    assert fed(MaxCalibrator(), *x.split(7)).range() == (x.min(), x.max())


@settings(max_examples=50)
@given(seed=SEEDS, percentile=st.floats(0.01, 100), bins=st.sampled_from([64, BINS]))
def test_a_percentile_is_within_a_bin_of_the_exact_rank(seed, percentile, bins):
    x = heavy(seed, 777)
    rank = math.ceil(Fraction(percentile) * 777 / 100)
    # The product of floats may pass a whole number that the exact one does not.
    assume(rank == math.ceil(percentile / 100 * 777))
    calibrator = PercentileCalibrator(percentile=percentile, bins=bins)
    exact = np.sort(np.abs(x.double().numpy()))[rank - 1]
    low, high = fed(calibrator, *x.split(100)).range()
    width = calibrator.histogram.width
    threshold = max(-low, high)
    # Half a bin, but for the largest magnitude, which is no centre.
    assert abs(threshold - exact) <= width / 2
    assert (low, high) == (max(x.min(), -threshold), min(x.max(), threshold))


@settings(max_examples=30)
@given(seed=SEEDS, percentile=st.sampled_from([50.0, 90.0, 99.0, 99.9, 99.99]))
def test_a_percentile_agrees_with_torch_s_quantile(seed, percentile):
    x = heavy(seed, 1777, signed=False)
    calibrator = fed(PercentileCalibrator(percentile=percentile), x)
    below, above = (
        torch.quantile(x, percentile / 100, interpolation=way).item()
        for way in ("lower", "higher")
    )
    threshold = calibrator.range()[1]
    half = calibrator.histogram.width / 2
    assert below - half <= threshold <= above + half


@settings(max_examples=25)
@given(seed=SEEDS, shift=st.floats(-5, 5))
def test_the_hundredth_percentile_is_the_maximum(seed, shift):
    x = heavy(seed, 300) + shift
    everything = fed(PercentileCalibrator(percentile=100), x).range()
    assert everything == fed(MaxCalibrator(), x).range()


def test_a_percentile_of_a_round_number_of_values_is_the_exact_rank():
    x = torch.arange(1, 1001, dtype=torch.float32)
    x[-1] = 5000
    calibrator = fed(PercentileCalibrator(percentile=99.9), x)
    assert calibrator.range()[1] == pytest.approx(999, abs=2)


@settings(max_examples=25)
@given(seed=SEEDS, bits=st.integers(3, 8), signed=st.booleans())
def test_mse_errs_less_than_max_on_the_data_themselves(seed, bits, signed):
    x = heavy(seed, signed=signed)
    calibrator = fed(MSECalibrator(bits=bits), *x.split(999))
    threshold, largest = max(map(abs, calibrator.range())), x.abs().max().item()
    found = squared_error(x, threshold, bits)
    # A value may lie half a bin from the centre that the search takes it for.
    slack = calibrator.histogram.width**2
    assert found <= squared_error(x, largest, bits) + slack
    if bits < 6:
        assert found < squared_error(x, largest, bits)
        assert threshold < largest


@settings(max_examples=25)
@given(seed=SEEDS, bits=st.integers(3, 8), signed=st.booleans())
def test_mse_on_the_histogram_is_mse_on_the_data_to_within_one_bin(seed, bits, signed):
    x = heavy(seed, signed=signed)
    calibrator = fed(MSECalibrator(bits=bits), x)
    histogram = calibrator.histogram
    bin_width = 16 * histogram.width  # of the 2,048 bins between trials
    tried = [
        min(number * histogram.width, histogram.largest)
        for number in search.candidates(histogram, least=1, stride=16)
    ]
    threshold = max(map(abs, calibrator.range()))
    near = [t for t in tried if abs(t - threshold) <= 60 * bin_width]
    errors = {t: squared_error(x, t, bits) for t in near}
    assert threshold in errors
    exact = min(errors, key=errors.get)
    # Two trials may be as good as equal; then it is the error that tells.
    same = errors[threshold] <= errors[exact] * (1 + 1e-4)
    assert abs(threshold - exact) <= bin_width or same


@settings(max_examples=25)
@given(seed=SEEDS, threshold=st.floats(0.5, 20), steps=st.sampled_from([7, 127, 255]))
def test_the_searched_error_is_the_weighted_mean_squared_error(seed, threshold, steps):
    magnitudes = heavy(seed, 100, signed=False).double()
    weights = torch.arange(100)
    got = search.mean_squared_error(magnitudes, weights, threshold, steps)
    x = np.repeat(magnitudes.numpy(), weights.numpy())
    step = threshold / steps
    wanted = np.mean((np.minimum(np.rint(x / step), steps) * step - x) ** 2)
    assert got == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("seed", "signed"), [(0, True), (1, True), (2, False)])
def test_entropy_is_a_plain_search_on_numpy_s_histogram(seed, signed):
    x = heavy(seed, 20000, signed=signed)
    # Few levels keep the plain search short.
    calibrator = fed(EntropyCalibrator(bits=4, stride=32), *x.split(3000))
    levels = 8 if signed else 16
    width = calibrator.histogram.width
    wanted = naive_entropy_threshold(x, width, levels, 32)
    assert wanted < x.abs().max()
    assert max(map(abs, calibrator.range())) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_entropy_as_nvidia_searches_it_does_not_count_the_zeros_of_a_relu(seed):
    x = heavy(seed, 20000).relu()
    assert (x == 0).float().mean() > 0.4
    options = {"bits": 4, "stride": 32}
    calibrator = fed(EntropyCalibrator(zeros="as_next", **options), *x.split(3000))
    width = calibrator.histogram.width
    wanted = naive_entropy_threshold(x, width, 16, 32, as_next=True)
    assert calibrator.range() == (0, wanted)
    counted = fed(EntropyCalibrator(**options), x).range()[1]
    assert counted == naive_entropy_threshold(x, width, 16, 32)
    assert counted < wanted  # the spike at zero drives the clip inwards


@pytest.mark.parametrize("make", [EntropyCalibrator, search.entropy_threshold])
def test_zeros_are_counted_or_as_the_next_bin(make):
    told = {"bits": 8, "signed": False, "zeros": "dropped"}
    seen = () if make is EntropyCalibrator else (MagnitudeHistogram(bins=64),)
    with pytest.raises(ValueError, match=r"'dropped' is not one of .'counted', 'as_ne"):
        make(*seen, **told)


@pytest.mark.parametrize("seed", range(6))
def test_entropy_on_a_coarse_histogram_is_close_to_that_on_a_fine_one(seed):
    x = heavy(seed, 50000)
    coarse = fed(EntropyCalibrator(bits=6, bins=BINS, stride=8), x)
    fine = fed(EntropyCalibrator(bits=6, bins=2 * BINS, stride=8), x)
    ends = [max(map(abs, c.range())) for c in (coarse, fine)]
    assert abs(ends[0] - ends[1]) <= 4 * 8 * coarse.histogram.width
    assert ends[0] < x.abs().max()


@settings(max_examples=30)
@given(
    counts=st.lists(st.integers(0, 9), min_size=8, max_size=60),
    levels=st.integers(1, 8),
    data=st.data(),
)
def test_the_divergence_is_scipy_s_of_the_same_distributions(counts, levels, data):
    counts = np.array(counts)
    bins = data.draw(st.integers(levels, len(counts)))
    assume(counts[:bins].any())
    p, q = naive_distributions(counts, bins, levels)
    with np.errstate(all="ignore"):
        wanted = stats.entropy(p, q)
    got = search.quantized_divergence(
        torch.tensor(counts, dtype=torch.float64), bins=bins, levels=levels
    )
    assert got == pytest.approx(wanted, abs=1e-12)


def test_the_divergence_is_infinite_where_only_the_clipped_mass_is():
    counts = torch.tensor([4.0, 0.0, 3.0], dtype=torch.float64)
    assert search.quantized_divergence(counts, bins=2, levels=2) == math.inf
    assert search.quantized_divergence(counts, bins=3, levels=3) == 0
    nothing = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    assert search.quantized_divergence(nothing, bins=2, levels=2) == math.inf


@settings(max_examples=25)
@given(seed=SEEDS, bits=st.integers(5, 8), signed=st.booleans())
def test_entropy_clips_nothing_where_every_bin_has_a_level(seed, bits, signed):
    x = heavy(seed, 300, signed=signed)
    levels = 2 ** (bits - signed)
    calibrator = fed(EntropyCalibrator(bits=bits, bins=levels), x)
    assert calibrator.range() == fed(MaxCalibrator(), x).range()


def test_of_equal_divergences_the_larger_threshold_is_taken():
    # Both one bin and all bins lose nothing.
    x = torch.tensor([1.0, 1 + 6 / 1024])
    assert fed(EntropyCalibrator(signed=True), x).range()[1] == x[1]


def test_candidates_are_multiples_of_the_stride_and_all_that_is_used():
    histogram = MagnitudeHistogram(bins=64)
    histogram.add(torch.tensor([1.0, 40.5]))
    assert histogram.width == 1
    tried = {
        (least, stride): search.candidates(histogram, least=least, stride=stride)
        for least, stride in [(1, 8), (17, 8), (16, 8), (50, 8), (38, 1)]
    }
    assert tried == {
        (1, 8): [8, 16, 24, 32, 40, 41],
        (17, 8): [24, 32, 40, 41],
        (16, 8): [16, 24, 32, 40, 41],
        (50, 8): [41],
        (38, 1): [38, 39, 40, 41],
    }


def test_steps_are_the_largest_code():
    assert search.steps_of(8, signed=True) == 127
    assert search.steps_of(8, signed=False) == 255
    assert search.steps_of(2, signed=True) == 1


@pytest.mark.parametrize("sort", ALL)
def test_memory_does_not_grow_with_the_batches(sort):
    calibrator = fed(sort(), *heavy(0).split(1000))
    before = len(pickle.dumps(calibrator))
    fed(calibrator, *(heavy(seed) * 10 for seed in range(1, 30)))
    assert len(pickle.dumps(calibrator)) == before


@pytest.mark.parametrize("sort", ALL)
@pytest.mark.parametrize("size", [1e-38, 1e-20, 1.0, 1e20, 1e37])
def test_tiny_and_huge_values_are_calibrated(sort, size):
    x = (heavy(0, 500) / heavy(0, 500).abs().max()).clamp(-1, 1)
    low, high = fed(sort(), x * size).range()
    assert -size * 1.001 <= low < 0 < high <= size * 1.001
    assert high - low > 0.1 * size


@pytest.mark.parametrize("sort", ALL)
def test_zeros_alone_have_the_range_zero(sort):
    assert fed(sort(), torch.zeros(5), torch.zeros(2, 3)).range() == (0, 0)


@pytest.mark.parametrize("sort", [sort for sort in ALL if sort != EntropyCalibrator])
def test_negative_data_alone_have_a_negative_range(sort):
    x = -1 - torch.rand(1000, generator=torch.Generator().manual_seed(0))
    low, high = fed(sort(), x).range()
    assert low <= high < 0
    assert x.min() <= low < -1.9
    assert high == x.max()


@pytest.mark.parametrize("sign", [-1, 1])
def test_entropy_does_not_clip_all_data_that_stay_away_from_zero(sign):
    x = 1 + torch.rand(1000, generator=torch.Generator().manual_seed(0))
    ends = fed(EntropyCalibrator(), sign * x).range()
    assert max(map(abs, ends)) > 1.9


@pytest.mark.parametrize("sort", [PercentileCalibrator, MSECalibrator])
def test_both_tails_are_clipped_at_one_magnitude(sort):
    x = torch.cat([torch.linspace(-1, 1, 30001), torch.tensor([3.0, -2.0])])
    low, high = fed(sort(bits=3) if sort is MSECalibrator else sort(), x).range()
    assert low == -high
    assert 0.7 < high < 1.1


def test_nvidia_s_properties_hold():
    numbers = torch.arange(100, dtype=torch.float32)
    _, high = fed(PercentileCalibrator(percentile=90), numbers).range()
    assert high == pytest.approx(89, abs=0.1)
    odd_one_out = torch.cat([torch.full((2000,), 255.0), torch.tensor([256.0])])
    _, high = fed(MSECalibrator(bits=8), odd_one_out).range()
    assert high == pytest.approx(255, abs=1)
    _, high = fed(EntropyCalibrator(bits=8), flat_with_outlier() * SIGNS).range()
    assert 0.9 < high < 1.1


def test_positive_data_are_clipped_with_the_levels_that_signed_says():
    x = flat_with_outlier()
    _, high = fed(EntropyCalibrator(bits=8, signed=True), x).range()
    assert 0.9 < high < 1.1
    # 256 unsigned levels keep 256 bins, which here reach to 2.
    calibrator = fed(EntropyCalibrator(bits=8), x)
    assert calibrator.range()[1] >= 256 * calibrator.histogram.width == 2
    same = fed(EntropyCalibrator(bits=8, signed=False), x).range()
    assert calibrator.range() == same
    odd = torch.cat([heavy(0, 4000, signed=False), torch.zeros(1)])
    ends = {s: fed(MSECalibrator(bits=4, signed=s), odd).range()[1] for s in (0, 1)}
    assert ends[0] == fed(MSECalibrator(bits=4), odd).range()[1] != ends[1]
    # A sign that was seen decides where nothing was said.
    signs = fed(MSECalibrator(bits=4), odd, torch.tensor([-1e-6])).range()[1]
    assert signs == pytest.approx(ends[1], rel=0.01)


@pytest.mark.parametrize("sort", [EntropyCalibrator, MSECalibrator])
def test_the_stride_sets_which_edges_are_tried(sort):
    x = heavy(1, 3000)
    calibrator = fed(sort(bits=4, stride=40), x)
    width = calibrator.histogram.width
    threshold = max(map(abs, calibrator.range()))
    assert threshold < x.abs().max()
    assert threshold / width % 40 == 0
    fine = max(map(abs, fed(sort(bits=4), x).range()))
    assert fine / width % 1 == 0
    assert fine / width % 40 != 0
    for bad in (0, -1):
        with pytest.raises(
            ValueError, match=f"stride {bad} is not a whole number of at least 1"
        ):
            sort(stride=bad)


@pytest.mark.parametrize("sort", ALL)
@pytest.mark.parametrize(
    "bad",
    [
        torch.empty(0),
        torch.tensor([1.0, math.nan]),
        torch.tensor([math.inf, 1.0]),
        torch.tensor([-math.inf]),
        torch.tensor([7, 8]),
    ],
)
def test_a_bad_batch_is_refused_and_changes_nothing(sort, bad):
    calibrator = fed(sort(), torch.tensor([-1.0, 2.0]))
    before = pickle.dumps(calibrator)
    with pytest.raises(ValueError, match="a batch"):
        calibrator.update(bad)
    assert pickle.dumps(calibrator) == before
    assert calibrator.range() == fed(sort(), torch.tensor([-1.0, 2.0])).range()


@pytest.mark.parametrize("sort", ALL)
def test_a_calibrator_that_saw_nothing_has_no_range(sort):
    calibrator = sort()
    with pytest.raises(ValueError, match="has seen no data"):
        calibrator.range()
    with pytest.raises(ValueError, match="holds NaN"):
        calibrator.update(torch.tensor([math.nan]))
    with pytest.raises(ValueError, match="has seen no data"):
        calibrator.range()


@pytest.mark.parametrize("percentile", [0, -1, 100.1, math.nan, math.inf])
def test_a_percentile_outside_0_to_100_is_refused(percentile):
    with pytest.raises(ValueError, match=f"percentile {float(percentile)} is outside"):
        PercentileCalibrator(percentile=percentile)


@pytest.mark.parametrize("constant", [0, -0.1, 1.1, math.nan])
def test_a_constant_outside_0_to_1_is_refused(constant):
    with pytest.raises(ValueError, match=f"constant {float(constant)} is outside"):
        MovingAverageCalibrator(constant=constant)


@pytest.mark.parametrize("sort", [EntropyCalibrator, MSECalibrator])
@pytest.mark.parametrize("bits", [0, 1, 9, 16, True, 8.0, math.nan])
def test_bits_outside_2_to_8_are_refused(sort, bits):
    with pytest.raises(
        ValueError, match=f"bits {bits} is not a whole number from 2 to 8"
    ):
        sort(bits=bits)


@pytest.mark.parametrize("sort", HISTOGRAMS)
@pytest.mark.parametrize("bins", [0, 1, 3, -4])
def test_an_odd_number_of_bins_is_refused(sort, bins):
    with pytest.raises(ValueError, match=f"bins {bins} is not an even whole number"):
        sort(bins=bins)
