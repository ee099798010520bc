"""Where steps start, what scales their gradient, and that they stay positive."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qstudy.numerics.granularity import PerChannel
from qstudy.numerics.lsq import fake_quantize, learned_codes
from qstudy.numerics.lsq_steps import (
    GRADIENT_SCALES,
    POSITIVITY,
    SMALLEST_STEP,
    STARTS,
    check_step,
    feature_count,
    gradient_scale,
    initial_offset,
    initial_step,
    parameter_of,
    positive,
)
from qstudy.numerics.mapping import CodeRange

CASES = st.tuples(st.integers(0, 2**31), st.integers(2, 8), st.booleans())


def drawn(seed, codes, shape=(3, 40)):
    """Values of the sign that `codes` have, each channel of its own width."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(shape, generator=generator)
    v = v * torch.tensor([0.01, 1.0, 30.0])[:, None]
    return v if codes.low < 0 else v.relu()


def test_the_gradient_scales_of_the_papers_worked_example():
    count = 3 * 3 * 256 * 256
    four, two = (learned_codes(bits, signed=True) for bits in (4, 2))
    assert gradient_scale(count, codes=four) == pytest.approx(4.92e-4, rel=1e-3)
    assert gradient_scale(count, codes=two) == pytest.approx(1.30e-3, rel=2e-3)


def test_gradient_scales_by_name():
    codes = learned_codes(3, signed=False)  # Q_P = 7
    found = {how: gradient_scale(100, codes=codes, how=how) for how in GRADIENT_SCALES}
    full = 1 / math.sqrt(700)
    assert found == pytest.approx(
        {
            "full": full,
            "sqrt_n": 0.1,
            "none": 1.0,
            "times_10": 10 * full,
            "over_10": 0.1 * full,
        },
        rel=1e-15,
    )


def test_features_are_those_of_one_image():
    assert feature_count((128, 16, 8, 8)) == 1024
    assert feature_count((128, 16, 8, 8), with_batch=True) == 131_072
    assert feature_count((128, 64)) == 64
    for shape in ((128,), (), (4, 0)):
        with pytest.raises(ValueError, match="is not"):
            feature_count(shape)


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_steps_start_as_the_formulas_say(case):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v = drawn(seed, codes)
    step = initial_step(v, codes=codes)
    by_hand = 2 * sum(abs(x) for x in v.flatten().tolist()) / v.numel()
    assert step.shape == ()
    assert step.item() == pytest.approx(by_hand / math.sqrt(codes.high), rel=1e-5)
    by_channel = initial_step(v, codes=codes, granularity=PerChannel(0))
    assert by_channel.shape == (3,)
    for c in range(3):
        assert torch.allclose(by_channel[c], initial_step(v[c], codes=codes))


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_min_max_is_the_least_step_that_clips_nothing(case):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v = drawn(seed, codes).double()
    step = initial_step(v, codes=codes, how="min_max")

    def clipped(step):
        quotients = v / step
        slack = 1e-9
        low, high = codes.low * (1 + slack), codes.high * (1 + slack)
        return bool(((quotients < low) | (quotients > high)).any())

    assert not clipped(step)
    assert clipped(step * (1 - 1e-6))


@settings(max_examples=40, deadline=None)
@given(CASES, st.floats(-50, 50))
def test_step_and_offset_span_the_values(case, shift):
    seed, bits, signed = case
    codes = learned_codes(bits, signed=signed)
    v = drawn(seed, learned_codes(bits, signed=True)).double() + shift
    step, offset = initial_offset(v, codes=codes, granularity=PerChannel(0))
    assert step.shape == offset.shape == (3,)
    quotients = (v - offset[:, None]) / step[:, None]
    ends = torch.tensor([codes.low, codes.high]).double()
    assert torch.allclose(quotients.amin(1), ends[0], atol=1e-6)
    assert torch.allclose(quotients.amax(1), ends[1], atol=1e-6)


@pytest.mark.parametrize("how", STARTS)
def test_a_dead_channel_gets_a_step_and_learns_nothing_false(how):
    codes = learned_codes(2, signed=True)
    v = torch.stack([torch.zeros(8), torch.linspace(-1, 1, 8)]).requires_grad_()
    step = initial_step(v, codes=codes, how=how, granularity=PerChannel(0))
    assert step[0] == SMALLEST_STEP
    assert step[1] > 0.1
    leaf = step.clone().requires_grad_()
    y = fake_quantize(v, leaf, codes=codes, granularity=PerChannel(0))
    y.sum().backward()
    assert torch.equal(y[0], torch.zeros(8))
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad[0] == 0
    assert torch.equal(v.grad[0], torch.ones(8))
    zeros = torch.zeros(4)
    assert initial_offset(zeros, codes=codes)[0] == SMALLEST_STEP


@pytest.mark.parametrize("rule", POSITIVITY)
def test_whatever_the_parameter_is_the_step_is_positive_and_can_come_back(rule):
    parameter = torch.tensor([-5.0, -1e-9, 0.0, 1e-9, 0.3], requires_grad=True)
    step = positive(parameter, rule=rule)
    assert (step >= SMALLEST_STEP).all()
    step.sum().backward()
    # abs has no slope at 0 itself; everywhere else an update moves the step.
    assert bool((parameter.grad != 0).logical_or(parameter == 0).all())
    if rule == "clamp":
        assert torch.equal(parameter.grad, torch.ones(5))
        assert step[-1].item() == parameter[-1].item()


@pytest.mark.parametrize("rule", POSITIVITY)
def test_a_parameter_stands_for_its_step(rule):
    step = torch.logspace(-5, 2, 30, dtype=torch.float64)
    back = positive(parameter_of(step, rule=rule), rule=rule)
    assert torch.allclose(back, step, rtol=1e-9, atol=0)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, 1e-40])
def test_steps_that_cannot_be_divided_by_are_refused(bad):
    check_step(torch.tensor([0.1, 1e-6]), name="conv1.step")
    with pytest.raises(ValueError, match=r"step conv1\.step is .*above 0") as error:
        check_step(torch.tensor([0.1, bad]), name="conv1.step")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="is missing"):
        check_step(torch.tensor([]), name="conv1.step")


def test_what_has_no_start_is_refused():
    codes = learned_codes(2, signed=True)
    v = torch.ones(3)
    with pytest.raises(ValueError, match="start 'ones' is not one of"):
        initial_step(v, codes=codes, how="ones")
    for bad in (torch.tensor([]), torch.ones(3, dtype=torch.int32)):
        with pytest.raises(ValueError, match="floats are needed"):
            initial_step(bad, codes=codes)
        with pytest.raises(ValueError, match="floats are needed"):
            initial_offset(bad, codes=codes)
    with pytest.raises(ValueError, match="v holds nan"):
        initial_step(torch.tensor([1.0, math.nan]), codes=codes)
    none = CodeRange(-1, 0)
    with pytest.raises(ValueError, match="have none above 0"):
        initial_step(v, codes=none)
    with pytest.raises(ValueError, match="have none above 0"):
        gradient_scale(4, codes=none)
    with pytest.raises(ValueError, match="gradient scale 'half' is not one of"):
        gradient_scale(4, codes=codes, how="half")
    with pytest.raises(ValueError, match="count 0"):
        gradient_scale(0, codes=codes)
    with pytest.raises(ValueError, match="rule 'exp' is not one of"):
        positive(v, rule="exp")
    with pytest.raises(ValueError, match="rule 'exp' is not one of"):
        parameter_of(v, rule="exp")
