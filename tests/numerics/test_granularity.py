"""What shares a scale: each granularity is the coarsest one, slice by slice."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qstudy.numerics.granularity import PerChannel, PerGroup, PerTensor
from qstudy.numerics.mapping import QParams, code_range, dequantize, quantize
from qstudy.numerics.qparams import choose_qparams, range_of

CODES = code_range(8)
SEEDS = st.integers(0, 2**31)


def drawn(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    spread = 10 ** torch.empty(shape).uniform_(-2, 2, generator=generator)
    return torch.randn(shape, generator=generator) * spread


def fitted(x, granularity):
    low, high = range_of(x, granularity)
    return choose_qparams(low, high, codes=CODES, granularity=granularity)


def whole(x):
    """(range, scale, zero point, codes) of `x` with one scale."""
    q = fitted(x, PerTensor())
    return range_of(x), q.scale, q.zero_point, quantize(x, q)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (4, 3, 2, 5)])
def test_one_scale_a_channel_is_one_scale_for_each_slice_on_every_axis(shape):
    x = drawn(7, shape)
    for axis in range(-len(shape), len(shape)):
        granularity = PerChannel(axis)
        q = fitted(x, granularity)
        assert q.scale.shape == (shape[axis],) == granularity.shape(x)
        low, high = range_of(x, granularity)
        codes = quantize(x, q)
        real = dequantize(codes, q)
        for index in range(shape[axis]):
            part = x.select(axis, index)
            ends, scale, zero, wanted = whole(part)
            assert (low[index], high[index]) == ends
            assert (q.scale[index], q.zero_point[index]) == (scale, zero)
            assert torch.equal(codes.select(axis, index), wanted)
            alone = dequantize(wanted, QParams(scale, zero, CODES))
            assert torch.equal(real.select(axis, index), alone)


def test_a_negative_axis_is_the_same_axis_counted_from_the_end():
    x = drawn(1, (2, 3, 4))
    for axis in range(3):
        first, second = PerChannel(axis), PerChannel(axis - 3)
        assert torch.equal(first.grouped(x), second.grouped(x))
        parameter = torch.arange(x.shape[axis])
        assert torch.equal(first.expand(parameter, x), second.expand(parameter, x))


@settings(max_examples=30)
@given(seed=SEEDS, size=st.sampled_from([1, 2, 3, 4, 6, 12]), rows=st.integers(1, 4))
def test_one_scale_a_group_is_one_scale_for_each_run_of_the_last_axis(seed, size, rows):
    x = drawn(seed, (rows, 2, 12))
    granularity = PerGroup(size)
    q = fitted(x, granularity)
    assert q.scale.shape == (rows, 2, 12 // size) == granularity.shape(x)
    codes, real = quantize(x, q), dequantize(quantize(x, q), q)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in q.scale.shape)):
        row, column, group = place.tolist()
        run = slice(group * size, (group + 1) * size)
        _, scale, zero, wanted = whole(x[row, column, run])
        assert q.scale[row, column, group] == scale
        assert q.zero_point[row, column, group] == zero
        assert torch.equal(codes[row, column, run], wanted)
        alone = dequantize(wanted, QParams(scale, zero, CODES))
        assert torch.equal(real[row, column, run], alone)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_rows_gather_every_value_once_and_with_its_own_parameter(seed):
    x = drawn(seed, (4, 6, 8))
    some = [PerTensor(), PerChannel(0), PerChannel(1), PerChannel(-1), PerGroup(4)]
    for granularity in some:
        rows = granularity.grouped(x)
        assert torch.equal(rows.flatten().sort().values, x.flatten().sort().values)
        largest = rows.amax(1).reshape(granularity.shape(x))
        spread = granularity.expand(largest, x)
        assert bool((x <= spread).all())
        assert int((x == spread).sum()) == rows.shape[0]


def test_a_single_scale_fits_every_shape_even_a_single_number():
    for shape in [(), (1,), (2, 3), (2, 1, 3, 1)]:
        x = torch.ones(shape)
        assert PerTensor().grouped(x).shape == (1, x.numel())
        assert PerTensor().shape(x) == ()
        assert PerTensor().expand(torch.tensor(2.0), x).shape == ()


@pytest.mark.parametrize("axis", [-4, 3, 7])
def test_an_axis_that_the_tensor_lacks_is_refused(axis):
    x = torch.ones(2, 3, 4)
    for call in (PerChannel(axis).grouped, PerChannel(axis).shape):
        with pytest.raises(
            ValueError, match=rf"axis {axis} is not a whole number from -3 to 2"
        ):
            call(x)
    with pytest.raises(
        ValueError, match=rf"axis {axis} is not a whole number from -3 to 2"
    ):
        PerChannel(axis).expand(torch.ones(2), x)


@pytest.mark.parametrize("size", [0, -1, 5, 24])
def test_a_group_size_that_does_not_divide_the_last_axis_is_refused(size):
    x = torch.ones(2, 12)
    message = (
        rf"group size {size} (does not divide the last axis.*\(2, 12\)$|is not a whole)"
    )
    for call in (PerGroup(size).grouped, PerGroup(size).shape):
        with pytest.raises(ValueError, match=message):
            call(x)


def test_a_single_number_has_no_groups():
    with pytest.raises(ValueError, match=r"group size 1 .* shape \(\)$"):
        PerGroup(1).grouped(torch.tensor(1.0))


@pytest.mark.parametrize(
    ("granularity", "wrong", "needed"),
    [
        (PerTensor(), (1,), "()"),
        (PerChannel(1), (3,), "(4,)"),
        (PerChannel(1), (4, 1), "(4,)"),
        (PerChannel(1), (), "(4,)"),
        (PerGroup(2), (3, 4), "(3, 2)"),
    ],
)
def test_a_parameter_of_another_shape_is_refused(granularity, wrong, needed):
    with pytest.raises(ValueError) as caught:
        granularity.expand(torch.ones(wrong), torch.ones(3, 4))
    message = str(caught.value)
    assert f"parameter of shape {wrong} does not fit {granularity}" in message
    assert message.endswith(f"shape {needed} is needed")


def test_channels_of_a_single_number_or_beyond_a_vector_are_refused():
    for granularity, x in [
        (PerChannel(5), torch.ones(3)),
        (PerChannel(0), torch.tensor(1.0)),
    ]:
        with pytest.raises(ValueError, match=r"is not a whole number|is outside"):
            granularity.grouped(x)
