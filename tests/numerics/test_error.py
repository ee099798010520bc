"""Measures of error against NumPy, SciPy and the theory of a uniform quantizer."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qstudy.numerics import error
from qstudy.numerics.mapping import code_range, fake_quantize
from qstudy.numerics.qparams import choose_qparams

SEEDS = st.integers(0, 2**31)
MEASURES = [error.mse, error.mae, error.sqnr, error.cosine, error.kl_divergence]


def pair(seed, shape=(3, 40)):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    return x, x + 0.1 * torch.randn(shape, generator=generator)


def uniform(bits, size=100_000):
    """(uniform data, the same quantized with `bits` bits, the step)."""
    x = torch.rand(size, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    q = choose_qparams(-1.0, 1.0, codes=code_range(bits))
    return x, fake_quantize(x, q), q.scale.item()


@settings(max_examples=30)
@given(seed=SEEDS)
def test_measures_are_their_definitions_in_numpy(seed):
    x, y = pair(seed)
    a, b = (v.numpy().astype(np.float64).ravel() for v in (x, y))
    assert error.mse(x, y) == pytest.approx(np.mean((a - b) ** 2), rel=1e-12)
    assert error.mae(x, y) == pytest.approx(np.mean(np.abs(a - b)), rel=1e-12)
    decibel = 10 * np.log10(np.sum(a**2) / np.sum((a - b) ** 2))
    assert error.sqnr(x, y) == pytest.approx(decibel, rel=1e-12)
    angle = np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
    assert error.cosine(x, y) == pytest.approx(angle, rel=1e-12)


@settings(max_examples=30)
@given(seed=SEEDS, bins=st.sampled_from([4, 64, 256]))
def test_the_divergence_of_two_histograms_is_scipy_s(seed, bins):
    x, y = pair(seed, (2000,))
    y = y * 0.8
    a, b = x.double().numpy(), y.double().numpy()
    span = min(a.min(), b.min()), max(a.max(), b.max())
    p, q = (np.histogram(v, bins, span)[0].astype(float) for v in (a, b))
    # A bin that x alone fills counts as half an example of y.
    q[(p > 0) & (q == 0)] = 0.5
    got = error.kl_divergence(x, y, bins=bins)
    assert got == pytest.approx(stats.entropy(p, q), rel=1e-9)
    assert got > 0


def test_the_default_is_256_bins():
    x, y = pair(3, (500,))
    assert error.kl_divergence(x, y) == error.kl_divergence(x, y, bins=256)
    assert error.kl_divergence(x, y) != error.kl_divergence(x, y, bins=64)


@pytest.mark.parametrize("bits", range(3, 13))
def test_the_sqnr_of_uniform_data_is_what_theory_says(bits):
    x, y, step = uniform(bits)
    assert error.sqnr(x, y) == pytest.approx(error.uniform_sqnr(x, step), abs=0.2)
    # The signal's power is 1/3 and the step 2 / (2^b - 1).
    theory = 20 * math.log10(2**bits - 1)
    assert error.uniform_sqnr(x, step) == pytest.approx(theory, abs=0.05)


def test_each_bit_gains_six_decibels():
    assert pytest.approx(6.0206, abs=1e-4) == error.DECIBEL_A_BIT
    values = [error.sqnr(*uniform(bits)[:2]) for bits in range(4, 13)]
    gains = np.diff(values)
    assert gains[2:] == pytest.approx(error.DECIBEL_A_BIT, abs=0.2)
    assert gains[2:].mean() == pytest.approx(error.DECIBEL_A_BIT, abs=0.05)


def test_nothing_lost_is_infinitely_good_and_noise_alone_infinitely_bad():
    x, zeros = torch.tensor([1.0, -2.0]), torch.zeros(2)
    assert error.sqnr(x, x) == math.inf
    assert error.sqnr(zeros, zeros) == math.inf
    assert error.sqnr(zeros, x) == -math.inf
    assert error.sqnr(x, zeros) == 0
    assert error.mse(x, x) == error.mae(x, x) == error.kl_divergence(x, x) == 0


def test_equal_constants_do_not_diverge():
    assert error.kl_divergence(torch.ones(4), torch.ones(4)) == 0


def test_the_cosine_is_1_along_minus_1_against_and_0_across():
    x = torch.tensor([3.0, 4.0])
    assert error.cosine(x, 2 * x) == pytest.approx(1)
    assert error.cosine(x, -x) == pytest.approx(-1)
    assert error.cosine(x, torch.tensor([-4.0, 3.0])) == 0


def test_short_floats_and_integers_are_measured_in_float64():
    x = torch.full((4,), 60000.0, dtype=torch.float16)
    assert error.mse(x, -x) == 4 * x[0].double().item() ** 2
    assert error.mae(torch.tensor([1, 2]), torch.tensor([2, 4])) == 1.5
    assert error.sqnr(x, x / 2) == pytest.approx(10 * math.log10(4))


def test_tensors_with_gradients_are_measured():
    x, y = pair(0)
    for measure in MEASURES:
        assert measure(x.clone().requires_grad_(), y) == measure(x, y)


@pytest.mark.parametrize("measure", MEASURES)
def test_two_shapes_or_nothing_are_refused(measure):
    with pytest.raises(ValueError, match=r"tensors of shape \(3,\) and \(3, 1\): one"):
        measure(torch.ones(3), torch.ones(3, 1))
    with pytest.raises(ValueError, match="not empty, is needed"):
        measure(torch.empty(0), torch.empty(0))


def test_a_direction_of_zeros_is_refused():
    for x, y in [(torch.ones(2), torch.zeros(2)), (torch.zeros(2), torch.ones(2))]:
        with pytest.raises(ValueError, match="one of the tensors is all zeros"):
            error.cosine(x, y)


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan])
def test_a_step_that_is_not_positive_is_refused(step):
    with pytest.raises(ValueError, match=f"step {step} is not"):
        error.uniform_sqnr(torch.ones(2), step)
    with pytest.raises(ValueError, match="not empty"):
        error.uniform_sqnr(torch.empty(0), 1.0)


def test_tiny_tensors_have_a_direction():
    x = torch.full((2,), 1e-200, dtype=torch.float64)
    assert error.cosine(x, x) == pytest.approx(1)


def test_the_sqnr_of_nan_is_not_a_number():
    try:
        got = error.sqnr(torch.tensor([math.nan, 1.0]), torch.ones(2))
    except ValueError:
        return
    assert math.isnan(got)


def test_the_theory_of_a_signal_of_zeros_is_as_bad_as_its_measure():
    assert error.uniform_sqnr(torch.zeros(2), 1.0) == -math.inf
