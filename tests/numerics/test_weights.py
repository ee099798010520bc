"""Weight ranges and rounding, against torch's observers and kernels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qstudy.numerics import weights


def drawn(seed, shape=(6, 3, 3, 3)):
    generator = torch.Generator().manual_seed(seed)
    channels = 10 ** torch.empty(shape[0], 1, 1, 1).uniform_(-4, 2, generator=generator)
    return torch.randn(shape, generator=generator) * channels


@given(seed=st.integers(0, 2**31))
def test_rounding_is_torch_s_bit_for_bit(seed):
    observer = pytest.importorskip("torch.ao.quantization.observer")
    weight = drawn(seed)
    common = {"dtype": torch.qint8, "quant_min": -128, "quant_max": 127}
    tensor = observer.MinMaxObserver(qscheme=torch.per_tensor_symmetric, **common)
    channel = observer.PerChannelMinMaxObserver(
        qscheme=torch.per_channel_symmetric, **common
    )
    tensor(weight)
    channel(weight)
    scale, _ = tensor.calculate_qparams()
    scales, zeros = channel.calculate_qparams()
    per_tensor = torch.fake_quantize_per_tensor_affine(
        weight, scale.item(), 0, -128, 127
    )
    per_channel = torch.fake_quantize_per_channel_affine(
        weight, scales, zeros.to(torch.int32), 0, -128, 127
    )
    ours = {
        g: weights.round_weight(weight, granularity=g) for g in weights.GRANULARITIES
    }
    assert torch.equal(ours["per_tensor"], per_tensor)
    assert torch.equal(ours["per_channel"], per_channel)


@given(seed=st.integers(0, 2**31))
def test_rounding_errs_by_half_a_step_and_is_idempotent_per_channel(seed):
    weight = drawn(seed).double()
    rounded = weights.round_weight(weight, granularity="per_channel")
    step = weights.weight_ranges(weight).per_channel / 127.5
    error = (weight - rounded).abs().flatten(1).amax(1)
    assert bool((error <= step * (0.5 + 1e-9)).all())


def test_ranges_are_the_largest_magnitudes():
    weight = torch.tensor([[1.0, -3.0], [0.5, 0.25], [-1.0, 1.0]]).reshape(3, 1, 1, 2)
    ranges = weights.weight_ranges(weight)
    assert ranges.per_channel.tolist() == [3.0, 0.5, 1.0]
    assert ranges.per_tensor == 3.0
    assert ranges.spread == 3.0
    weight[1:] = 0
    assert weights.weight_ranges(weight).spread == math.inf


def test_sqnr_is_its_definition_and_one_scale_a_channel_wins():
    weight = drawn(0)
    rounded = weights.round_weight(weight, granularity="per_tensor")
    power, noise = weight.norm() ** 2, (weight - rounded).norm() ** 2
    got = weights.weight_sqnr(weight, granularity="per_tensor")
    assert got == pytest.approx(10 * math.log10(power / noise), abs=1e-3)
    assert weights.weight_sqnr(weight, granularity="per_channel") > got


def test_a_weight_that_loses_nothing_has_infinite_sqnr():
    zeros = torch.zeros(2, 1, 1, 1)
    assert weights.weight_sqnr(zeros, granularity="per_channel") == math.inf


def test_one_channel_has_one_granularity():
    weight = drawn(4, (1, 3, 3, 3))
    both = [weights.round_weight(weight, granularity=g) for g in weights.GRANULARITIES]
    assert torch.equal(*both)


@pytest.mark.parametrize(
    "weight",
    [torch.empty(0, 1), torch.tensor([[math.nan]]), torch.tensor([[math.inf]])],
)
def test_a_weight_without_a_range_is_refused(weight):
    with pytest.raises(ValueError, match="its range is not defined"):
        weights.weight_ranges(weight)


def test_an_unknown_granularity_is_refused():
    with pytest.raises(ValueError, match=r"'per_group' is not one of \('per_tensor'"):
        weights.round_weight(torch.ones(1, 1), granularity="per_group")
