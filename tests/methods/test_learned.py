"""The quantizer whose step is learned: numerics inside, a parameter that stays one."""

import math

import pytest
import torch

from qstudy.methods.fakequant import FakeQuantize, FakeQuantizeConfig
from qstudy.methods.learned import LearnedQuantize, LearnedStepConfig, quantizer_of
from qstudy.numerics import lsq
from qstudy.numerics.granularity import PerChannel
from qstudy.numerics.lsq_steps import (
    GRADIENT_SCALES,
    POSITIVITY,
    SMALLEST_STEP,
    STARTS,
    gradient_scale,
    initial_step,
)
from qstudy.numerics.mapping import CodeRange, dequantize, quantize


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(v, *, channels=None, name="q", **config):
    quantizer = LearnedQuantize(
        LearnedStepConfig(**config), channels=channels, name=name
    )
    quantizer.start(v)
    return quantizer


WEIGHT = {"signed": True, "count": "weight"}


@pytest.mark.parametrize("gradient", GRADIENT_SCALES)
@pytest.mark.parametrize(
    ("count", "values"), [("features", 60), ("batch", 240), ("weight", 240)]
)
def test_it_is_the_function_of_numerics_with_the_layers_own_n(gradient, count, values):
    v = randn(4, 3, 4, 5)
    quantizer = made(v, bits=3, signed=True, count=count, gradient=gradient)
    x, step = v.clone().requires_grad_(), quantizer.step.detach().requires_grad_()
    y = lsq.fake_quantize(
        x,
        step,
        codes=CodeRange(-4, 3),
        gradient_scale=gradient_scale(values, codes=CodeRange(-4, 3), how=gradient),
    )
    y.square().sum().backward()
    mine = v.clone().requires_grad_()
    found = quantizer(mine)
    found.square().sum().backward()
    assert torch.equal(found, y)
    assert torch.equal(mine.grad, x.grad)
    assert torch.equal(quantizer.step.grad, step.grad)


def test_per_channel_n_is_a_channels_share():
    v = randn(4, 3, 4, 5) * torch.tensor([0.1, 1, 5, 20]).reshape(4, 1, 1, 1)
    options = {**WEIGHT, "granularity": "per_channel"}
    quantizer = made(v, channels=4, bits=2, **options)
    assert quantizer.gradient_scale(v) == 1 / math.sqrt(60)
    assert torch.equal(
        quantizer.step,
        initial_step(v, codes=CodeRange(-2, 1), granularity=PerChannel(0)),
    )


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("positivity", POSITIVITY)
def test_it_starts_where_the_rule_says(start, positivity):
    v = randn(200)
    quantizer = made(v, bits=4, start=start, positivity=positivity, **WEIGHT)
    wanted = initial_step(v, codes=CodeRange(-8, 7), how=start)
    torch.testing.assert_close(quantizer.scale().detach(), wanted)


@pytest.mark.parametrize("positivity", POSITIVITY)
def test_the_parameter_is_never_rebound_and_the_step_stays_positive(positivity):
    quantizer = LearnedQuantize(
        LearnedStepConfig(bits=2, positivity=positivity, **WEIGHT), name="w"
    )
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.5)
    held = quantizer.step
    v = randn(50)
    quantizer.start(v)
    for sign in (1, 1, 1, 1, -1):
        before = held.detach().clone()
        (sign * quantizer(v).square().sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
        assert not torch.equal(held, before)
        assert (quantizer.scale() >= SMALLEST_STEP).all()
        assert torch.isfinite(quantizer(v)).all()
    assert quantizer.step is held
    quantizer.set_range(-1.0, 1.0)
    assert quantizer.step is held


def test_a_dead_channel_survives_and_can_come_back():
    v = torch.stack([torch.zeros(8), torch.linspace(-1, 1, 8)])
    quantizer = made(v, channels=2, bits=2, granularity="per_channel", **WEIGHT)
    assert quantizer.step[0] == SMALLEST_STEP
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.1)
    quantizer(v).sum().backward()
    assert torch.isfinite(quantizer.step.grad).all()
    revived = v + 0.5
    for _ in range(20):
        optimizer.zero_grad()
        (quantizer(revived) - revived).square().sum().backward()
        optimizer.step()
    assert quantizer.scale()[0] > 0.01


def test_switched_off_x_passes_and_the_step_learns_nothing():
    v = randn(20)
    quantizer = made(v, bits=2, **WEIGHT)
    quantizer.quantize(False)
    x = v.clone().requires_grad_()
    y = quantizer(x)
    y.sum().backward()
    assert torch.equal(y, v) and torch.equal(x.grad, torch.ones(20))
    assert quantizer.step.grad == 0
    with pytest.raises(ValueError, match="has lsq ranges, which observe nothing"):
        quantizer.observe(True)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("count", ["features", "weight"])
def test_its_integers_stand_for_what_it_gives(signed, count):
    v = randn(6, 7) if signed else randn(6, 7).relu()
    quantizer = made(v, bits=3, signed=signed, count=count)
    qparams = quantizer.qparams()
    assert torch.equal(dequantize(quantize(v, qparams), qparams), quantizer(v))
    low, high = quantizer.range()
    step = quantizer.step.item()
    assert (float(low), float(high)) == (
        pytest.approx((-4 if signed else 0) * step),
        pytest.approx((3 if signed else 7) * step),
    )


def test_a_range_becomes_the_least_step_that_holds_it():
    quantizer = made(randn(9), bits=3, **WEIGHT)
    quantizer.set_range(-4.0, 1.5)
    assert quantizer.step.item() == 1.0
    quantizer.set_range(-1.0, 6.0)
    assert quantizer.step.item() == 2.0


def test_an_offset_is_learned_after_lsq_plus_and_has_no_zero_point():
    v = randn(8, 30) + 2
    quantizer = made(v, bits=2, offset=True)
    low, high = quantizer.range()
    torch.testing.assert_close(torch.stack([low, high]), torch.stack(v.aminmax()))
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=1.0)
    before = quantizer.offset.clone()
    quantizer(torch.cat([v, v + 9])).square().sum().backward()
    optimizer.step()
    assert not torch.equal(before, quantizer.offset)
    with pytest.raises(ValueError, match="'q' has learned an offset"):
        quantizer.qparams()
    with pytest.raises(ValueError, match="given a range of shape"):
        quantizer.set_range(torch.zeros(2), torch.ones(2))
    quantizer.set_range(1.0, 4.0)
    torch.testing.assert_close(torch.stack(quantizer.range()), torch.tensor([1.0, 4.0]))


@pytest.mark.parametrize("rule", ["clamp", "abs"])
def test_settling_changes_nothing_that_is_computed(rule):
    v = randn(30)
    quantizer = made(v, bits=2, positivity=rule, **WEIGHT)
    with torch.no_grad():
        quantizer.step.neg_()
    y = quantizer(v)
    quantizer.settle()
    assert quantizer.step > 0
    assert torch.equal(quantizer(v), y)


def test_parts_make_a_missed_tie_a_tie():
    quantizer = made(torch.ones(2, 2), bits=4)
    quantizer.set_range(0.0, 15 * 0.1)
    x = torch.full((1, 1), 0.25).nextafter(torch.tensor(1.0))
    assert quantizer(x).item() == pytest.approx(0.3)
    assert quantizer.round(x, parts=1024).item() == pytest.approx(0.2)


def test_without_a_step_it_says_so():
    quantizer = LearnedQuantize(LearnedStepConfig(**WEIGHT), name="layer.weight")
    for call in (quantizer.qparams, quantizer.check, lambda: quantizer(randn(3))):
        with pytest.raises(ValueError, match=r"'layer.weight' has no step: start it"):
            call()
    with pytest.raises(ValueError, match=r"'layer.weight': v holds nan"):
        quantizer.start(torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf, -1.0])
def test_a_loaded_step_has_to_be_one(bad):
    quantizer = made(randn(9), bits=2, **WEIGHT).eval()
    state = quantizer.state_dict()
    state["step"] = torch.tensor(bad)
    with pytest.raises(ValueError, match=r"step q is .*: a finite number above 0"):
        quantizer.load_state_dict(state)


def test_loaded_bits_have_to_be_its_own():
    two, three = (made(randn(9), bits=bits, **WEIGHT) for bits in (2, 3))
    with pytest.raises(ValueError, match="'q' has 2 bits and the checkpoint 3: build"):
        two.load_state_dict(three.state_dict())
    two.load_state_dict(made(randn(9, seed=1), bits=2, **WEIGHT).state_dict())


@pytest.mark.parametrize("bits", [0, 1, 9, 2.0, True, "4"])
def test_bits_outside_2_to_8_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits {bits!r} is not a whole number"):
        LearnedStepConfig(bits=bits)


@pytest.mark.parametrize(
    "name",
    ["granularity", "count", "gradient", "bounds", "start", "positivity", "offset"],
)
def test_an_unknown_variant_is_named(name):
    with pytest.raises(ValueError, match=f"{name} 'mine' is not one of"):
        LearnedStepConfig(**{name: "mine"})
    with pytest.raises(ValueError, match="only a weight has channels"):
        LearnedStepConfig(granularity="per_channel")


def test_the_description_says_which_quantizer_it_is():
    assert type(quantizer_of(LearnedStepConfig())) is LearnedQuantize
    assert type(quantizer_of(FakeQuantizeConfig())) is FakeQuantize
    assert repr(quantizer_of(LearnedStepConfig())) == (
        "LearnedQuantize(2 bits, unsigned, per_tensor, lsq)"
    )
