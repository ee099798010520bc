"""Codes and back, against exact arithmetic, torch's kernels and ONNX's reference."""

import math
from decimal import (
    ROUND_HALF_DOWN,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Decimal,
)
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qstudy.numerics import mapping
from qstudy.numerics.granularity import PerChannel, PerGroup
from qstudy.numerics.mapping import (
    ROUNDINGS,
    CodeRange,
    QParams,
    code_range,
    dequantize,
    fake_quantize,
    quantize,
    round_to_integer,
)

VARIANTS = [
    {"signed": signed, "narrow": narrow, "reduce_range": reduce_range}
    for signed in (True, False)
    for narrow in (True, False)
    for reduce_range in (True, False)
]
SEEDS = st.integers(0, 2**31)


def params(scale, zero_point=0, codes=None, granularity=None, dtype=torch.float32):
    rest = () if granularity is None else (granularity,)
    return QParams(
        torch.tensor(scale, dtype=dtype),
        torch.tensor(zero_point, dtype=torch.int32),
        codes or code_range(8),
        *rest,
    )


def drawn(seed, size=400):
    """(x that also holds ties and what lies out of range, its parameters)."""
    generator = torch.Generator().manual_seed(seed)
    scale = float(10 ** torch.empty(1).uniform_(-6, 3, generator=generator))
    zero = int(torch.randint(-128, 128, (1,), generator=generator))
    q = params(scale, zero)
    wide = torch.randn(size, generator=generator) * 150
    ties = torch.randint(-200, 200, (size,), generator=generator) + 0.5
    return torch.cat([wide, ties]) * q.scale, q


def refused(call, *parts):
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_code_survives_the_way_to_a_real_number_and_back(bits, variant):
    if bits == 2 and variant["reduce_range"]:
        refused(lambda: code_range(bits, **variant), "bits 2", "reduce_range")
        return
    codes = code_range(bits, **variant)
    used = bits - variant["reduce_range"]
    assert codes.levels == 2**used - variant["narrow"]
    assert codes.high == (2 ** (used - 1) - 1 if variant["signed"] else 2**used - 1)
    every = torch.arange(codes.low, codes.high + 1, dtype=torch.int32)
    for scale in (0.1, 3.3e-5, 1e30):
        for zero in (codes.low, (codes.low + codes.high) // 2):
            q = params(scale, zero, codes)
            for invert in (False, True):
                back = quantize(dequantize(every, q), q, invert=invert)
                assert back.dtype == torch.int32
                assert torch.equal(back, every)


def test_code_ranges_are_the_ones_in_the_books():
    assert code_range(8) == CodeRange(-128, 127)
    assert code_range(8, narrow=True) == CodeRange(-127, 127)
    assert code_range(8, signed=False) == CodeRange(0, 255)
    assert code_range(8, signed=False, reduce_range=True) == CodeRange(0, 127)
    assert code_range(8, reduce_range=True) == CodeRange(-64, 63)
    assert code_range(4, signed=False, narrow=True) == CodeRange(1, 15)
    assert code_range(16).levels == 65536


@settings(max_examples=40)
@given(seed=SEEDS, bits=st.integers(2, 16), rounding=st.sampled_from([*ROUNDINGS]))
def test_the_error_inside_the_range_is_half_a_step_at_most(seed, bits, rounding):
    generator = torch.Generator().manual_seed(seed)
    codes = code_range(bits, signed=bool(seed % 2))
    zero = int(torch.randint(codes.low, codes.high + 1, (1,), generator=generator))
    q = params(0.37, zero, codes, dtype=torch.float64)
    part = torch.rand(500, dtype=torch.float64, generator=generator)
    x = (codes.low - zero + part * (codes.levels - 1)) * 0.37
    error = (fake_quantize(x, q, rounding=rounding) - x).abs().max().item()
    assert error <= 0.37 / 2 * (1 + 1e-9)
    assert error > 0.37 / 2 * 0.9


@settings(max_examples=40)
@given(seed=SEEDS, rounding=st.sampled_from([*ROUNDINGS]), invert=st.booleans())
def test_a_larger_value_never_gets_a_smaller_code(seed, rounding, invert):
    x, q = drawn(seed)
    codes = quantize(x.sort().values, q, rounding=rounding, invert=invert)
    assert bool((codes.diff() >= 0).all())
    assert codes[0] < codes[-1]


@settings(max_examples=40)
@given(seed=SEEDS, power=st.integers(-20, 20), invert=st.booleans())
def test_scaling_data_and_step_by_a_power_of_two_changes_no_code(seed, power, invert):
    x, q = drawn(seed)
    other = QParams(q.scale * 2.0**power, q.zero_point, q.codes)
    same = quantize(x * 2.0**power, other, invert=invert)
    assert torch.equal(same, quantize(x, q, invert=invert))
    back = dequantize(same, other)
    assert torch.equal(back, dequantize(same, q) * 2.0**power)


@settings(max_examples=40)
@given(
    scale=st.floats(2.0**-126, 2.0**127, width=32),
    zero=st.integers(-128, 127),
    rounding=st.sampled_from([*ROUNDINGS]),
)
def test_zero_is_exact_and_has_the_zero_point_as_its_code(scale, zero, rounding):
    q = params(scale, zero)
    zeros = torch.tensor([0.0, -0.0])
    assert quantize(zeros, q, rounding=rounding).tolist() == [zero, zero]
    assert fake_quantize(zeros, q, rounding=rounding).tolist() == [0, 0]


@pytest.mark.parametrize("codes", [code_range(8), code_range(3, signed=False)])
def test_what_lies_outside_the_range_gets_the_last_code(codes):
    zero = codes.low + 1
    q = params(0.5, zero, codes)
    first, last = (codes.low - zero) * 0.5, (codes.high - zero) * 0.5
    x = torch.tensor([-3e38, first - 0.5, first, last, last + 0.5, 3e38])
    low, high = codes.low, codes.high
    assert quantize(x, q).tolist() == [low, low, low, high, high, high]
    assert fake_quantize(x, q).tolist() == [first] * 3 + [last] * 3


def exact_rounding(value, rounding):
    half = Fraction(1, 2)
    if rounding == "half_up":
        return math.floor(Fraction(value) + half)
    if rounding == "half_down":
        return math.ceil(Fraction(value) - half)
    way = {
        "half_even": ROUND_HALF_EVEN,
        "half_away": ROUND_HALF_UP,
        "half_toward_zero": ROUND_HALF_DOWN,
    }[rounding]
    return int(Decimal(value).to_integral_value(rounding=way))


HARD = [0.49999997, 0.5, 0.50000006, 1.5, 2.5, 2.4999998, 3.0, 0.0, 1e-45]
HARD += [8388607.5, 8388608.0, 16777217.0, 4194303.75, 1e30, 126.5, 127.5]


@pytest.mark.parametrize("rounding", [*ROUNDINGS])
@settings(max_examples=50)
@given(
    values=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False)
        | st.integers(-5000, 5000).map(lambda k: k / 2),
        min_size=1,
    )
)
@example(values=[sign * value for value in HARD for sign in (1, -1)])
def test_each_rounding_is_its_exact_definition(rounding, values):
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor(values, dtype=dtype)
        got = round_to_integer(x, rounding=rounding)
        assert got.dtype == dtype
        wanted = [exact_rounding(value, rounding) for value in x.tolist()]
        assert [int(value) for value in got.tolist()] == wanted


def test_each_rounding_sends_ties_its_own_way():
    ties = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    got = {name: round_to_integer(ties, rounding=name).tolist() for name in ROUNDINGS}
    assert got == {
        "half_even": [-2, -2, 0, 0, 2, 2],
        "half_away": [-3, -2, -1, 1, 2, 3],
        "half_toward_zero": [-2, -1, 0, 0, 1, 2],
        "half_up": [-2, -1, 0, 1, 2, 3],
        "half_down": [-3, -2, -1, 0, 1, 2],
    }
    for name, rounded in got.items():
        assert quantize(ties, params(1.0), rounding=name).tolist() == rounded


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_keep_their_type_and_are_computed_in_float32_at_least(dtype):
    x, q = drawn(3)
    x = (x / q.scale).to(dtype)
    q = params(0.3, 5)
    wide = torch.promote_types(dtype, torch.float32)
    wanted = torch.round(x.to(wide) / q.scale.to(wide)).add(5).clamp(-128, 127)
    codes = quantize(x, q)
    assert codes.dtype == torch.int32
    assert codes.tolist() == wanted.tolist()
    real = ((wanted - 5) * q.scale.to(wide)).to(dtype)
    assert torch.equal(dequantize(codes, q, dtype=dtype), real)
    faked = fake_quantize(x, q)
    assert faked.dtype == dtype
    assert torch.equal(faked, real)


def test_float64_data_are_not_rounded_to_float32_first():
    x = torch.tensor([1.5 - 1e-12], dtype=torch.float64)
    assert quantize(x, params(1.0)).tolist() == [1]
    assert quantize(x.float(), params(1.0)).tolist() == [2]


def far_from_ties(x, q):
    """Where the quotient is no tie, to within what float32 can tell apart."""
    steps = x.double() / q.scale.double()
    return (steps - steps.floor() - 0.5).abs() > 1e-4


@settings(max_examples=40)
@given(seed=SEEDS)
def test_the_inverse_scale_gives_torch_s_values_bit_for_bit(seed):
    x, q = drawn(seed)
    scale, zero = q.scale.item(), q.zero_point.item()
    faked = torch.fake_quantize_per_tensor_affine(x, scale, zero, -128, 127)
    assert torch.equal(fake_quantize(x, q, invert=True), faked)
    unsigned = params(scale, zero + 128, code_range(8, signed=False))
    faked = torch.fake_quantize_per_tensor_affine(x, scale, zero + 128, 0, 255)
    assert torch.equal(fake_quantize(x, unsigned, invert=True), faked)


@settings(max_examples=40)
@given(seed=SEEDS)
def test_the_inverse_scale_gives_the_codes_of_torch_s_quantized_tensors(seed):
    x, q = drawn(seed)
    scale, zero = q.scale.item(), q.zero_point.item()
    centred = params(scale)
    theirs = torch.quantize_per_tensor(x, scale, 0, torch.qint8)
    codes = quantize(x, centred, invert=True)
    assert torch.equal(codes, theirs.int_repr().to(torch.int32))
    assert torch.equal(dequantize(codes, centred), theirs.dequantize())
    # Its vector kernel adds the zero point before it rounds, in one fused operation:
    # the last bits of ties may decide otherwise.
    theirs = torch.quantize_per_tensor(x, scale, zero, torch.qint8).int_repr()
    for first in (False, True):
        apart = (quantize(x, q, invert=True, zero_point_first=first) - theirs).abs()
        assert apart.max() <= 1
        assert not bool((apart[far_from_ties(x, q)] > 0).any())


@settings(max_examples=40)
@given(seed=SEEDS, axis=st.integers(0, 2))
def test_one_scale_a_channel_gives_torch_s_codes_bit_for_bit(seed, axis):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 4, 6, generator=generator)
    count = x.shape[axis]
    scales = torch.empty(count).uniform_(0.001, 0.05, generator=generator)
    zeros = torch.randint(-128, 128, (count,), generator=generator, dtype=torch.int32)
    q = QParams(scales, zeros, code_range(8), PerChannel(axis))
    faked = torch.fake_quantize_per_channel_affine(x, scales, zeros, axis, -128, 127)
    assert torch.equal(fake_quantize(x, q, invert=True), faked)
    q = QParams(scales, zeros * 0, code_range(8), PerChannel(axis))
    theirs = torch.quantize_per_channel(x, scales, zeros * 0, axis, torch.qint8)
    codes = quantize(x, q, invert=True)
    assert torch.equal(codes, theirs.int_repr().to(torch.int32))
    assert torch.equal(dequantize(codes, q), theirs.dequantize())


@settings(max_examples=25)
@given(seed=SEEDS)
def test_division_gives_numpy_s_codes(seed):
    x, q = drawn(seed)
    steps = x.numpy() / q.scale.numpy()
    assert steps.dtype == np.float32
    wanted = np.clip(np.rint(steps) + q.zero_point.item(), -128, 127)
    assert np.array_equal(quantize(x, q).numpy(), wanted)


def test_division_and_the_inverse_scale_decide_near_ties_differently():
    x, q = drawn(0, 4000)
    apart = (quantize(x, q) - quantize(x, q, invert=True)).abs()
    assert apart.max() == 1
    assert not bool((apart[far_from_ties(x, q)] > 0).any())


@given(seed=st.integers(0, 2**31))
def test_the_zero_point_may_be_added_before_rounding(seed):
    x, q = drawn(seed)
    steps = x.numpy() / q.scale.numpy()
    wanted = np.rint(steps + np.float32(q.zero_point.item())).clip(-128, 127)
    assert np.array_equal(quantize(x, q, zero_point_first=True).numpy(), wanted)


@pytest.mark.parametrize("zero", [-3, 0, 5])
@pytest.mark.parametrize("scale", [1.0, 0.1, 0.0371, 2.0**-7, 1 / 3])
def test_inverse_and_zero_point_first_are_torch_s_own_quantize(scale, zero):
    steps = torch.arange(-4000, 4000) / 32
    ties = (steps.double() * scale).float()
    x = torch.cat([ties, torch.nextafter(ties, ties + 1), ties * 1.0000001])
    codes = quantize(x, params(scale, zero), invert=True, zero_point_first=True)
    torch_codes = torch.quantize_per_tensor(x, scale, zero, torch.qint8).int_repr()
    assert torch.equal(codes, torch_codes.to(torch.int32))


def test_the_order_decides_ties_where_the_zero_point_is_odd():
    ties = torch.arange(-8, 8) + 0.5
    for zero in (-3, -2, 0, 1, 4):
        q = params(1.0, zero)
        apart = quantize(ties, q) - quantize(ties, q, zero_point_first=True)
        assert apart.abs().tolist() == [zero % 2] * 16


@pytest.mark.parametrize(("name", "low"), [("INT8", -128), ("UINT8", 0)])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_division_gives_the_codes_of_onnx_s_reference(name, low, axis):
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    x = torch.cat([drawn(seed, 300)[0] for seed in range(3)]).reshape(6, 300)
    x = x / x.abs().max() * 200
    codes = code_range(8, signed=low < 0)
    shape = () if axis is None else (x.shape[axis],)
    generator = torch.Generator().manual_seed(1)
    scale = torch.empty(shape).uniform_(0.1, 1, generator=generator)
    zero = torch.randint(low, low + 256, shape, generator=generator, dtype=torch.int32)
    make, kind = onnx.helper, getattr(onnx.TensorProto, name)
    node = make.make_node(
        "QuantizeLinear", ["x", "s", "z"], ["y"], axis=0 if axis is None else axis
    )
    graph = make.make_graph(
        [node],
        "g",
        [
            make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape),
            make.make_tensor_value_info("s", onnx.TensorProto.FLOAT, shape),
            make.make_tensor_value_info("z", kind, shape),
        ],
        [make.make_tensor_value_info("y", kind, x.shape)],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 19)])
    feeds = {"x": x.numpy(), "s": scale.numpy()}
    feeds["z"] = zero.numpy().astype(name.lower())
    (theirs,) = reference.ReferenceEvaluator(model).run(None, feeds)
    rest = () if axis is None else (PerChannel(axis),)
    ours = quantize(x, QParams(scale, zero, codes, *rest))
    assert np.array_equal(ours.numpy(), theirs.astype(np.int32))


@settings(max_examples=30)
@given(seed=SEEDS)
def test_the_straight_through_gradient_is_torch_s(seed):
    x, q = drawn(seed)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = fake_quantize(ours, q, invert=True, straight_through=True)
    faked = torch.fake_quantize_per_tensor_affine(
        theirs, q.scale.item(), q.zero_point.item(), -128, 127
    )
    y.backward(upstream)
    faked.backward(upstream)
    assert torch.equal(y, faked)
    assert torch.equal(ours.grad, theirs.grad)
    assert 0 < int((ours.grad == 0).sum()) < x.numel()


def test_the_straight_through_gradient_of_channels_is_torch_s():
    x = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    scales, zeros = torch.tensor([0.003, 0.01, 0.1]), torch.tensor([-100, 0, 50])
    q = QParams(scales, zeros, code_range(8), PerChannel(0))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    fake_quantize(ours, q, invert=True, straight_through=True).sum().backward()
    torch.fake_quantize_per_channel_affine(
        theirs, scales, zeros.to(torch.int32), 0, -128, 127
    ).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)
    assert {0.0, 1.0} == set(ours.grad.flatten().tolist())


def test_without_straight_through_there_is_no_gradient():
    x = torch.ones(3, requires_grad=True)
    assert not fake_quantize(x, params(0.1)).requires_grad
    assert not quantize(x, params(0.1)).requires_grad


@settings(max_examples=25)
@given(seed=SEEDS, invert=st.booleans(), rounding=st.sampled_from([*ROUNDINGS]))
def test_fake_quantization_is_both_ways_and_idempotent(seed, invert, rounding):
    x, q = drawn(seed)
    faked = fake_quantize(x, q, invert=invert, rounding=rounding)
    codes = quantize(x, q, invert=invert, rounding=rounding)
    assert torch.equal(faked, dequantize(codes, q))
    assert torch.equal(fake_quantize(faked, q, invert=invert), faked)


@pytest.mark.parametrize("bits", [0, 1, 17, 33, True, 8.0, "8", None])
def test_bits_outside_2_to_16_are_refused(bits):
    refused(lambda: code_range(bits), f"bits {bits!r} ", "from 2 to 16")


@pytest.mark.parametrize("low", [3, 4])
def test_a_reversed_or_single_code_range_is_refused(low):
    refused(lambda: CodeRange(low, 3), f"code range {low} to 3")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("call", [quantize, fake_quantize])
def test_data_that_are_not_finite_are_refused(call, bad):
    x = torch.tensor([1.0, bad, 2.0])
    refused(lambda: call(x, params(1.0)), f"x holds {bad}", "only finite numbers")


@pytest.mark.parametrize("call", [quantize, fake_quantize])
def test_empty_data_and_integers_are_refused(call):
    refused(lambda: call(torch.empty(0, 3), params(1.0)), "(0, 3)", "at least one")
    whole = torch.tensor([1, 2])
    refused(lambda: call(whole, params(1.0)), "torch.int64", "floats are needed")


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_scale_that_is_not_positive_and_finite_is_refused(bad, dtype):
    smallest = "from 1.18e-38 to 3.4e+38"
    refused(lambda: params(bad, dtype=dtype), f"scale {bad} ", smallest)
    channels = {"granularity": PerChannel(0), "dtype": dtype}
    refused(lambda: params([1.0, bad], [0, 0], **channels), f"scale {bad} ", smallest)


def test_a_subnormal_scale_is_refused_and_the_smallest_normal_one_is_not():
    refused(lambda: params(1e-40), "scale 9.99994", "from 1.18e-38")
    assert params(2.0**-126).scale == 2.0**-126


@pytest.mark.parametrize("zero", [-129, 128, 1000])
def test_a_zero_point_outside_the_codes_is_refused(zero):
    refused(lambda: params(1.0, zero), f"zero_point {zero} ", "-128 to 127")
    several = [0, zero]
    refused(
        lambda: params([1.0, 1.0], several, granularity=PerChannel(0)),
        f"zero_point {zero} ",
    )


def test_parameters_of_the_wrong_type_or_shape_are_refused():
    one, zero, codes = torch.tensor(1.0), torch.tensor(0), code_range(8)
    refused(lambda: QParams(zero + 1, zero, codes), "torch.int64", "float")
    refused(lambda: QParams(one, one, codes), "zero_point is torch.float32", "integer")
    refused(lambda: QParams(one, zero[None], codes), "shape ()", "shape (1,)")
    none = torch.empty(0)
    refused(lambda: QParams(none, none.int(), codes), "(0,)", "not empty")


def test_a_wrong_channel_count_is_refused():
    q = params([1.0, 1.0], [0, 0], granularity=PerChannel(1))
    for call in (quantize, fake_quantize):
        refused(lambda call=call: call(torch.ones(2, 3), q), "(2,)", "(3,) is needed")
    refused(lambda: dequantize(torch.ones(2, 3).int(), q), "(2,)", "(3,) is needed")
    groups = params([[1.0, 1.0]], [[0, 0]], granularity=PerGroup(4))
    refused(lambda: quantize(torch.ones(1, 12), groups), "(1, 2)", "(1, 3) is needed")


@pytest.mark.parametrize("bad", [-129, 128, 70000])
def test_codes_outside_the_range_are_refused(bad):
    codes = torch.tensor([0, bad, 1])
    refused(lambda: dequantize(codes, params(1.0)), f"code {bad} ", "-128 to 127")


def test_codes_that_are_floats_or_missing_are_refused():
    refused(lambda: dequantize(torch.ones(2), params(1.0)), "torch.float32", "integers")
    empty = torch.empty(0, 2, dtype=torch.int8)
    refused(lambda: dequantize(empty, params(1.0)), "(0, 2)", "at least one")


@pytest.mark.parametrize("call", [quantize, fake_quantize])
def test_an_unknown_rounding_is_refused(call):
    names = str(tuple(mapping.ROUNDINGS))
    x = torch.ones(1)
    refused(lambda: call(x, params(1.0), rounding="up"), "rounding 'up'", names)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_a_scale_that_float32_cannot_hold_is_refused(scale):
    refused(lambda: params(scale, dtype=torch.float64), f"scale {scale}", "1.18e-38")
