"""Ranges to parameters, against hand values, torch's observers and ONNX Runtime."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qstudy.numerics.granularity import PerChannel, PerGroup
from qstudy.numerics.mapping import CodeRange, code_range, fake_quantize, quantize
from qstudy.numerics.qparams import (
    CONVENTIONS,
    SCHEMES,
    choose_qparams,
    range_of,
    wu_parameters,
)

INT8, UINT8 = code_range(8), code_range(8, signed=False)
NARROW = code_range(8, narrow=True)
EPS = torch.finfo(torch.float32).eps
SEEDS = st.integers(0, 2**31)
ENDS = st.floats(-1e6, 1e6, width=32)


def scale_of(low, high, codes, convention, **more):
    q = choose_qparams(
        low, high, codes=codes, scheme="scale", convention=convention, **more
    )
    return q.scale.item(), q.zero_point.item()


@pytest.mark.parametrize(
    ("low", "high"), [(-3.0, 2.0), (-2.0, 3.0), (-1.0, 1.0), (0.0, 5.0), (-5.0, 0.0)]
)
def test_each_symmetric_convention_is_its_formula_for_8_bits(low, high):
    m = max(-low, high)
    assert scale_of(low, high, INT8, "max_code") == (m / 127, 0)
    assert scale_of(low, high, NARROW, "max_code") == (m / 127, 0)
    assert scale_of(low, high, INT8, "half_range") == (m / 127.5, 0)
    both = max(-low / 128, high / 127)
    assert scale_of(low, high, INT8, "both_ends") == (both, 0)
    assert scale_of(low, high, INT8, "min_code") == (m / 128, 0)
    step, zero = scale_of(low, high, UINT8, "unsigned")
    assert (step, zero) == (pytest.approx(2 * m / 255, rel=1e-15), 128)


def test_the_conventions_differ_and_only_two_of_them_reach_both_ends():
    steps = [scale_of(-1.0, 1.0, INT8, c)[0] for c in CONVENTIONS[:4]]
    assert len(set(steps)) == 3
    assert steps[0] == steps[2] == max(steps)
    assert scale_of(-1.0, 0.5, INT8, "both_ends")[0] == 1 / 128
    assert scale_of(-1.0, 0.5, INT8, "max_code")[0] == 1 / 127


@settings(max_examples=50)
@given(a=ENDS, b=ENDS, bits=st.integers(2, 16), signed=st.booleans())
def test_an_affine_range_is_covered_to_within_a_step(a, b, bits, signed):
    codes = code_range(bits, signed=signed)
    low, high = min(a, b), max(a, b)
    q = choose_qparams(low, high, codes=codes)
    wide = max(high, 0) - min(low, 0)
    assume(wide > 1e-30)
    step = q.scale.item()
    assert step == pytest.approx(wide / (codes.levels - 1), rel=1e-12)
    ends = torch.tensor([min(low, 0), max(high, 0)], dtype=torch.float64)
    assert bool(((fake_quantize(ends, q) - ends).abs() <= step * (1 + 1e-9)).all())


@settings(max_examples=25)
@given(seed=SEEDS, shift=st.floats(-3, 3), reduce_range=st.booleans())
def test_the_parameters_are_those_of_torch_s_observers_bit_for_bit(
    seed, shift, reduce_range
):
    observer = pytest.importorskip("torch.ao.quantization.observer")
    generator = torch.Generator().manual_seed(seed)
    size = 10 ** torch.empty(1).uniform_(-8, 4, generator=generator)
    x = (torch.randn(4, 9, generator=generator) + shift) * size
    for name, dtype, signed in [
        ("affine", torch.quint8, False),
        ("affine", torch.qint8, True),
        ("symmetric", torch.quint8, False),
        ("symmetric", torch.qint8, True),
    ]:
        if (name, signed, reduce_range) == ("symmetric", False, True):
            # torch keeps zero at the middle of 8 bits, a code that 7 bits lack.
            continue
        common = {"dtype": dtype, "reduce_range": reduce_range}
        ours = {
            "codes": code_range(8, signed=signed, reduce_range=reduce_range),
            "scheme": "affine" if name == "affine" else "scale",
            "convention": "half_range" if signed else "unsigned",
            "smallest_scale": EPS,
        }
        one = observer.MinMaxObserver(
            qscheme=getattr(torch, f"per_tensor_{name}"), **common
        )
        each = observer.PerChannelMinMaxObserver(
            ch_axis=1, qscheme=getattr(torch, f"per_channel_{name}"), **common
        )
        for theirs, granularity in ((one, None), (each, PerChannel(1))):
            theirs(x)
            scale, zero = theirs.calculate_qparams()
            ends = range_of(x, granularity)
            q = choose_qparams(*ends, granularity=granularity, **ours)
            assert torch.equal(q.scale, scale.reshape(q.scale.shape)), (name, dtype)
            assert q.zero_point.tolist() == zero.reshape(q.scale.shape).tolist()


@settings(max_examples=50)
@given(a=ENDS, b=ENDS)
def test_the_parameters_are_those_of_onnx_runtime(a, b):
    utils = pytest.importorskip("onnxruntime.quantization.quant_utils")
    low, high = np.float32(min(a, b)), np.float32(max(a, b))
    assume(max(high, 0) - min(low, 0) > 1e-30)
    for codes, symmetric in ((INT8, False), (UINT8, False), (NARROW, True)):
        ends = np.array(codes.low, np.int64), np.array(codes.high, np.int64)
        zero, scale = utils.compute_scale_zp(low, high, *ends, symmetric=symmetric)
        q = choose_qparams(
            float(low),
            float(high),
            codes=codes,
            scheme="scale" if symmetric else "affine",
        )
        assert q.scale.float().item() == pytest.approx(float(scale), rel=1.2e-7)
        # A tie may fall either way: the two compute low / scale in another order.
        steps = min(float(low), 0) / q.scale.item()
        near_tie = abs(abs(steps - math.floor(steps)) - 0.5) < 1e-6
        if symmetric or not near_tie:
            assert q.zero_point.item() == int(zero)


def test_a_range_without_zero_is_widened_to_hold_it():
    for low, high, held in [(2.0, 5.0, (0.0, 5.0)), (-5.0, -2.0, (-5.0, 0.0))]:
        q, wanted = (choose_qparams(*r, codes=INT8) for r in ((low, high), held))
        assert (q.scale, q.zero_point) == (wanted.scale, wanted.zero_point)
        assert q.zero_point == (-128 if low > 0 else 127)
        assert quantize(torch.zeros(1), q).item() == q.zero_point


@pytest.mark.parametrize(("low", "high"), [(2.0, 5.0), (-5.0, -2.0)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_range_without_zero_can_be_refused(low, high, scheme):
    common = {"codes": INT8, "scheme": scheme, "contain_zero": False}
    with pytest.raises(ValueError, match=rf"range {low} to {high} does not contain"):
        choose_qparams(low, high, **common)
    choose_qparams(0.0, 1.0, **common)
    choose_qparams(-1.0, 0.0, **common)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_range_that_is_zero_alone_has_scale_1_or_the_smallest(scheme):
    common = {"codes": INT8, "scheme": scheme}
    assert choose_qparams(0.0, 0.0, **common).scale == 1
    q = choose_qparams(0.0, 0.0, smallest_scale=EPS, **common)
    assert q.scale == EPS
    assert fake_quantize(torch.zeros(2), q).tolist() == [0, 0]
    assert choose_qparams(-1e-9, 1e-9, smallest_scale=EPS, **common).scale == EPS
    lows, highs = torch.tensor([0.0, -1.0]), torch.tensor([0.0, 1.0])
    q = choose_qparams(lows, highs, granularity=PerChannel(0), **common)
    assert q.scale[0] == 1 > q.scale[1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_range_too_small_for_a_normal_scale_gets_the_smallest_normal_one(scheme):
    tiny = torch.tensor(1e-38)
    q = choose_qparams(-tiny, tiny, codes=INT8, scheme=scheme)
    assert q.scale == torch.finfo(torch.float32).tiny


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (2.0, 1.0, "range 2.0 to 1.0 is reversed"),
        (math.nan, 1.0, "range nan to 1.0 is not finite"),
        (0.0, math.nan, "range 0.0 to nan is not finite"),
        (-math.inf, 1.0, "range -inf to 1.0 is not finite"),
        (0.0, math.inf, "range 0.0 to inf is not finite"),
    ],
)
def test_a_range_that_is_none_is_refused(low, high, message):
    for call in (
        lambda: choose_qparams(low, high, codes=INT8),
        lambda: wu_parameters(low, high, bits=8, scheme="affine"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            call()


def test_one_bad_range_among_many_is_named():
    lows, highs = torch.tensor([-1.0, 3.0]), torch.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match=r"range 3\.0 to 2\.0 is reversed"):
        choose_qparams(lows, highs, codes=INT8, granularity=PerChannel(0))
    with pytest.raises(ValueError, match=r"low has shape \(2,\) and high \(\)"):
        choose_qparams(lows, 1.0, codes=INT8)
    with pytest.raises(ValueError, match="not empty"):
        choose_qparams(torch.empty(0), torch.empty(0), codes=INT8)


def test_unknown_names_and_conventions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"scheme 'log' is not one of \('affine'"):
        choose_qparams(0.0, 1.0, codes=INT8, scheme="log")
    with pytest.raises(ValueError, match=r"convention 'mid' is not one of \('max_co"):
        scale_of(0.0, 1.0, INT8, "mid")
    with pytest.raises(ValueError, match="'unsigned' does not fit signed codes"):
        scale_of(0.0, 1.0, INT8, "unsigned")
    for convention in CONVENTIONS[:4]:
        with pytest.raises(ValueError, match="does not fit unsigned codes"):
            scale_of(0.0, 1.0, UINT8, convention)
    with pytest.raises(ValueError, match=r"rounding 'odd' is not one of"):
        choose_qparams(0.0, 1.0, codes=INT8, rounding="odd")


def test_a_range_is_the_smallest_and_largest_value_of_each_group():
    x = torch.tensor([[1.0, -2.0, 3.0, 0.5], [7.0, 8.0, -9.0, 2.0]])
    assert [end.item() for end in range_of(x)] == [-9, 8]
    low, high = range_of(x, PerChannel(1))
    assert (low.tolist(), high.tolist()) == ([1, -2, -9, 0.5], [7, 8, 3, 2])
    low, high = range_of(x, PerGroup(2))
    assert (low.tolist(), high.tolist()) == ([[-2, 0.5], [7, -9]], [[1, 3], [8, 2]])
    assert low.dtype == torch.float32


@pytest.mark.parametrize("x", [[], [math.nan, 1.0], [math.inf], [-math.inf, 0.0]])
def test_data_without_a_range_are_refused(x):
    with pytest.raises(
        ValueError, match="x holds (nan|-?inf): only finite" if x else "at least one"
    ):
        range_of(torch.tensor(x))


@settings(max_examples=50)
@given(a=ENDS, b=ENDS, bits=st.integers(2, 16))
def test_wu_s_scale_is_the_reciprocal_of_the_step(a, b, bits):
    low, high = min(a, b, -1e-3), max(a, b, 1e-3)
    codes = code_range(bits)
    affine = wu_parameters(low, high, bits=bits, scheme="affine")
    q = choose_qparams(low, high, codes=codes)
    assert 1 / affine.s == pytest.approx(q.scale.item(), rel=1e-12)
    steps = low * affine.s
    if abs(steps - math.floor(steps) - 0.5) > 1e-6:
        assert affine.z == q.zero_point.item()
    symmetric = wu_parameters(low, high, bits=bits, scheme="scale")
    q = choose_qparams(low, high, codes=codes, scheme="scale")
    assert 1 / symmetric.s == pytest.approx(q.scale.item(), rel=1e-12)
    assert symmetric.z == q.zero_point.item() == 0


def test_wu_s_parameters_are_those_worked_by_hand():
    unit = wu_parameters(-1.0, 1.0, bits=8, scheme="scale")
    assert (unit.s, unit.z) == (127, 0)
    assert round(unit.s * 0.1) == 13
    q = choose_qparams(-1.0, 1.0, codes=NARROW, scheme="scale")
    assert quantize(torch.tensor([0.1]), q).item() == 13
    affine = wu_parameters(-1.0, 3.0, bits=8, scheme="affine")
    assert (affine.s, affine.z) == (63.75, 64 - 128)


def test_wu_s_parameters_of_nothing_are_refused():
    for scheme in SCHEMES:
        with pytest.raises(ValueError, match="range 0 to 0 has no scale"):
            wu_parameters(0.0, 0.0, bits=8, scheme=scheme)
    with pytest.raises(ValueError, match=r"scheme 'log' is not one of"):
        wu_parameters(0.0, 1.0, bits=8, scheme="log")


def test_the_zero_point_of_a_tie_follows_the_rounding():
    codes = CodeRange(0, 4)
    q = {
        name: choose_qparams(-2.5, 1.5, codes=codes, rounding=name).zero_point.item()
        for name in ("half_even", "half_away", "half_up")
    }
    assert q == {"half_even": 2, "half_away": 3, "half_up": 2}


def test_arithmetic_stays_in_the_dtype_of_the_range():
    low, high = torch.tensor(-1.0), torch.tensor(2.0)
    assert choose_qparams(low, high, codes=INT8).scale.dtype == torch.float32
    assert choose_qparams(-1.0, 2.0, codes=INT8).scale.dtype == torch.float64
    assert choose_qparams(low, high, codes=INT8).scale == torch.tensor(3.0) / 255
