"""Whatever is not allowed is said in one line that names the value and the range."""

import math

import numpy as np
import pytest
import torch

from qstudy.numerics import (
    calibration,
    dynamic,
    elementwise,
    error,
    fixedpoint,
    granularity,
    histogram,
    integer,
    mapping,
    qparams,
    requantize,
    search,
    weights,
)
from qstudy.numerics.elementwise import Affine
from qstudy.numerics.mapping import CodeRange, QParams, code_range

X = torch.linspace(-1, 1, 12).reshape(3, 4)
Q = torch.arange(12).reshape(3, 4)
IMAGE = torch.arange(16).reshape(1, 1, 4, 4)
BYTES = Q.to(torch.int8)
ONE, ZERO = torch.tensor(1.0), torch.tensor(0)
INT8, UINT8 = code_range(8), code_range(8, signed=False)
UNIT = QParams(ONE, ZERO, INT8)
SIDE = Affine(0.5, 0)
NAN, INF = math.nan, math.inf


def add(**changes):
    ends = {"first": SIDE, "second": SIDE, "output": SIDE, "codes": UINT8}
    given = {"a": Q, "b": Q, "rule": "fused"} | changes
    return elementwise.add_float32(given.pop("a"), given.pop("b"), **ends | given)


def float32(**changes):
    given = {
        "bias": torch.zeros(4), "input_scale": 1.0, "weight_scale": ONE,
        "output_scale": 1.0, "output_zero_point": 0, "codes": INT8,
        "rule": "scaled_bias", "acc": Q,
    } | changes  # fmt: skip
    return requantize.requantize_float32(given.pop("acc"), **given)


def fixed(**changes):
    given = {
        "bias": torch.zeros(4, dtype=torch.int32), "mantissa": torch.tensor(2**30),
        "shift": ZERO, "output_zero_point": 0, "codes": INT8, "acc": Q,
    } | changes  # fmt: skip
    return requantize.requantize_fixed_point(given.pop("acc"), **given)


def linear(x=X, codes=BYTES, scale=ONE, bias=None, **options):
    return dynamic.dynamic_linear(x, codes, scale, bias, **options)


def seen(*values, calibrator=None):
    found = calibrator or calibration.MaxCalibrator()
    for value in values:
        found.update(value)
    return found.range()


def filled():
    found = histogram.MagnitudeHistogram(bins=8)
    found.add(X)
    return found


CASES = {
    "a list": (lambda: mapping.quantize([1.0], UNIT), "x is a list: a torch tensor"),
    "an array": (lambda: mapping.quantize(X.numpy(), UNIT), "x is a ndarray: a torch"),
    "integers to quantize": (lambda: mapping.quantize(Q, UNIT), "floats are needed"),
    "complex numbers": (lambda: mapping.quantize(X + 1j, UNIT), "torch.complex64"),
    "an array of codes": (lambda: mapping.dequantize(Q.numpy(), UNIT), "codes is a nd"),
    "codes of bool": (lambda: mapping.dequantize(Q > 1, UNIT), "torch.bool"),
    "codes of float": (lambda: mapping.dequantize(X, UNIT), "codes is torch.float32"),
    "a dtype of int": (
        lambda: mapping.dequantize(Q, UNIT, dtype=torch.int8), "is not a float dtype",
    ),
    "a dtype in words": (
        lambda: mapping.dequantize(Q, UNIT, dtype="half"), "dtype half is not a float",
    ),
    "beyond float16": (
        lambda: mapping.dequantize(
            Q, QParams(ONE * 1e4, ZERO, INT8), dtype=torch.float16
        ),
        "beyond torch.float16: use a wider dtype",
    ),
    "a float scale": (lambda: QParams(1.0, ZERO, INT8), "scale is a float: a torch"),
    "an int zero point": (lambda: QParams(ONE, 0, INT8), "zero_point is a int"),
    "a zero point of 1.5": (
        lambda: QParams(ONE, torch.tensor(1.5), INT8), "zero_point is torch.float32",
    ),
    "a zero point of True": (
        lambda: QParams(ONE, torch.tensor(True), INT8), "zero_point is torch.bool",
    ),
    "codes as a tuple": (lambda: QParams(ONE, ZERO, (0, 255)), "is not CodeRange"),
    "granularity in words": (
        lambda: QParams(ONE, ZERO, INT8, "per_tensor"), "granularity 'per_tensor' is",
    ),
    "a code of .5": (lambda: CodeRange(0.5, 3), "low 0.5 is not a whole number"),
    "codes in words": (lambda: CodeRange("0", "255"), "low '0' is not a whole"),
    "codes beyond int32": (lambda: CodeRange(0, 2**40), "high 1099511627776 is not"),
    "bits of .5": (lambda: code_range(7.5), "bits 7.5 is not a whole number from 2"),
    "bits in words": (lambda: code_range("8"), "bits '8' is not a whole"),
    "a rounding of None": (
        lambda: mapping.round_to_integer(X, rounding=None), "rounding None is not one",
    ),
    "rounding integers": (lambda: mapping.round_to_integer(Q), "torch.int64"),
    "a range in words": (
        lambda: qparams.choose_qparams("0", 1.0, codes=INT8), "low '0' is not a real",
    ),
    "a range of integers": (
        lambda: qparams.choose_qparams(ZERO, ZERO + 1, codes=INT8), "low is torch.int",
    ),
    "a range of None": (
        lambda: qparams.choose_qparams(None, 1.0, codes=INT8), "low None is not a real",
    ),
    "a range beyond float32": (
        lambda: qparams.choose_qparams(-1e300, 1e300, codes=INT8), "beyond float32's",
    ),
    "bits for codes": (
        lambda: qparams.choose_qparams(0.0, 1.0, codes=8), "codes 8 is not a CodeRange",
    ),
    "a negative smallest scale": (
        lambda: qparams.choose_qparams(0.0, 1.0, codes=INT8, smallest_scale=-1),
        "smallest_scale -1.0 is not at least 0",
    ),
    "a smallest scale of NaN": (
        lambda: qparams.choose_qparams(0.0, 1.0, codes=INT8, smallest_scale=NAN),
        "smallest_scale nan is not a finite",
    ),
    "an affine convention": (
        lambda: qparams.choose_qparams(0.0, 1.0, codes=INT8, convention="odd"),
        "convention 'odd' is not one of",
    ),
    "a range of a list": (lambda: qparams.range_of([1.0]), "x is a list"),
    "a range of codes": (lambda: qparams.range_of(Q), "x is torch.int64"),
    "Wu's bits of .5": (
        lambda: qparams.wu_parameters(0, 1, bits=7.5, scheme="affine"), "bits 7.5 is",
    ),
    "Wu's bits of 0": (
        lambda: qparams.wu_parameters(0, 1, bits=0, scheme="scale"), "bits 0 is not",
    ),
    "an axis of .5": (
        lambda: qparams.range_of(X, granularity.PerChannel(0.5)), "axis 0.5 is not",
    ),
    "a group of .5": (
        lambda: qparams.range_of(X, granularity.PerGroup(0.5)), "group size 0.5 is not",
    ),
    "a mantissa of .5": (
        lambda: fixedpoint.multiply(Q, 0.5, 0), "mantissa 0.5 is not a whole number",
    ),
    "a mantissa of floats": (
        lambda: fixedpoint.multiply(Q, ONE / 2, 0), "mantissa is torch.float32",
    ),
    "a mantissa beyond int32": (
        lambda: fixedpoint.multiply(Q, 2**31, 0), "mantissa 2147483648 is not",
    ),
    "a shift of .5": (lambda: fixedpoint.multiply(Q, 2**30, 0.5), "shift 0.5 is not"),
    "a shift of -32": (lambda: fixedpoint.multiply(Q, 2**30, -32), "shift -32 is not"),
    "a single shift of 31": (
        lambda: fixedpoint.multiply(Q, 2**30, 31, rounding="single"),
        "shift 31 is not a whole number from -31 to 30",
    ),
    "x as a list": (lambda: fixedpoint.multiply([1], 2**30, 0), "x is a list"),
    "a multiplier in words": (
        lambda: fixedpoint.quantize_multiplier("0.5"), "multiplier '0.5' is not a real",
    ),
    "a multiplier of None": (
        lambda: fixedpoint.quantize_multiplier(None), "multiplier None is not a real",
    ),
    "a rounding of 1": (
        lambda: fixedpoint.quantize_multiplier(0.5, rounding=1), "rounding 1 is not",
    ),
    "an exponent of -1": (
        lambda: fixedpoint.rounding_divide_by_power_of_two(Q, -1),
        "exponent -1 is not a whole number from 0 to 62",
    ),
    "an exponent of 63": (
        lambda: fixedpoint.rounding_divide_by_power_of_two(Q, 63), "exponent 63 is not",
    ),
    "an exponent of .5": (
        lambda: fixedpoint.rounding_divide_by_power_of_two(Q, 0.5), "exponent 0.5 is",
    ),
    "a float to divide": (
        lambda: fixedpoint.rounding_divide_by_power_of_two(X, 1), "x is torch.float32",
    ),
    "a float to multiply": (
        lambda: fixedpoint.rounding_doubling_high_multiply(X, 1), "a is torch.float32",
    ),
    "an int64 to multiply": (
        lambda: fixedpoint.rounding_doubling_high_multiply(Q + 2**40, 1),
        "a 1099511627787 is not|a 1099511627776 is not",
    ),
    "an input zero point of .5": (
        lambda: integer.linear_sums(Q, Q, input_zero_point=0.5), "input_zero_point 0.5",
    ),
    "an input zero point of 17 bits": (
        lambda: integer.linear_sums(Q, Q, input_zero_point=2**17), "_point 131072 is",
    ),
    "an input zero point of a tensor": (
        lambda: integer.linear_sums(Q, Q, input_zero_point=ZERO), "_point tensor",
    ),
    "a weight zero point of .5": (
        lambda: integer.linear_sums(
            Q, Q, input_zero_point=0, weight_zero_point=torch.full((3,), 0.5)
        ),
        "weight_zero_point is torch.float32",
    ),
    "codes of 17 bits": (
        lambda: integer.linear_sums(Q + 2**17, Q, input_zero_point=0), "hold 131083",
    ),
    "codes of bool to add": (
        lambda: integer.linear_sums(Q > 1, Q, input_zero_point=0), "codes is torch.b",
    ),
    "an array of codes to add": (
        lambda: integer.linear_sums(Q.numpy(), Q, input_zero_point=0), "codes is a nd",
    ),
    **{
        f"a {name} of {bad}": (
            lambda name=name, bad=bad: integer.conv2d_sums(
                IMAGE, IMAGE, input_zero_point=0, **{name: bad}
            ),
            f"{name} {bad} is not a whole number",
        )
        for name, bad in [
            ("padding", -1), ("padding", 0.5), ("stride", 0), ("stride", 1.5),
            ("dilation", 0), ("groups", 0), ("groups", -1), ("stride", True),
        ]
    },
    "a window of 0": (lambda: integer.window_sums(IMAGE, size=0, stride=1), "size 0"),
    "a window's stride of 0": (
        lambda: integer.max_pool2d(IMAGE, size=2, stride=0), "stride 0 is not",
    ),
    "a ReLU of floats": (
        lambda: integer.clamp_relu(X, zero_point=0), "codes is torch.float32",
    ),
    "a ReLU from .5": (lambda: integer.clamp_relu(Q, zero_point=0.5), "zero_point 0.5"),
    "a six below zero": (
        lambda: integer.clamp_relu(Q, zero_point=5, six=3), "six 3 is not a whole",
    ),
    "a side's scale of 0": (lambda: Affine(0.0, 0), "scale 0.0 is not a finite number"),
    "a side's scale of NaN": (lambda: Affine(NAN, 0), "scale nan is not a finite"),
    "a side's scale of None": (lambda: Affine(None, 0), "scale None is not a real"),
    "a side's zero point of .5": (lambda: Affine(1.0, 0.5), "zero_point 0.5 is not"),
    "a side as a list": (lambda: add(a=[1]), "a is a list"),
    "sides of floats": (lambda: add(a=X), "integers of one shape"),
    "a rule of None": (lambda: add(rule=None), "rule None is not one of"),
    "an average of none": (
        lambda: elementwise.average_fixed_point(Q, count=0), "count 0 is not a whole",
    ),
    "an average of floats": (
        lambda: elementwise.average_fixed_point(X, count=4), "sums is torch.float32",
    ),
    "an average around .5": (
        lambda: elementwise.average_float32(
            Q, count=4, zero_point=0.5, zero_point_first=True
        ),
        "zero_point 0.5 is not",
    ),
    "an average wider than its codes": (
        lambda: elementwise.average_dequantized(
            IMAGE, size=5, stride=1, affine=SIDE, codes=UINT8
        ),
        "H and W of at least 5",
    ),
    "float sums": (lambda: float32(acc=X), "sums is torch.float32"),
    "sums of one axis": (lambda: float32(acc=Q[0]), r"\(N, C, ...\) is needed"),
    "an input scale of 0": (lambda: float32(input_scale=0.0), "input_scale 0.0 is not"),
    "an output scale below 0": (
        lambda: float32(output_scale=-1.0), "output_scale -1.0 is not a finite",
    ),
    "a weight scale of NaN": (
        lambda: float32(weight_scale=ONE * NAN), "weight_scale nan is not a finite",
    ),
    "a weight scale of a float": (
        lambda: float32(weight_scale=1.0), "weight_scale is a float: a torch tensor",
    ),
    "an output zero point of 1.5": (
        lambda: float32(output_zero_point=1.5), "output_zero_point 1.5 is not a whole",
    ),
    "an output zero point that is no code": (
        lambda: float32(output_zero_point=128), "128 is not a whole number from -128",
    ),
    "a bias of NaN": (lambda: float32(bias=torch.full((4,), NAN)), "bias holds nan"),
    "a bias of integers": (lambda: float32(bias=Q[0]), "bias is torch.int64"),
    "a fixed bias of floats": (lambda: fixed(bias=X[0]), "bias is torch.float32"),
    "a fixed bias beyond int32": (
        lambda: fixed(bias=Q[0] + 2**31), "bias 214748365. is not",
    ),
    "fixed sums of floats": (lambda: fixed(acc=X), "sums is torch.float32"),
    "a fixed mantissa of floats": (
        lambda: fixed(mantissa=ONE / 2), "mantissa is torch.float32",
    ),
    "a fixed shift of floats": (lambda: fixed(shift=ONE), "shift is torch.float32"),
    "a bias at a scale of 0": (
        lambda: requantize.quantize_bias(X[0], 0.0, ONE), "input_scale 0.0 is not",
    ),
    "a bias at scales that vanish": (
        lambda: requantize.quantize_bias(X[0], 1e-30, ONE * 1e-30), "s_x s_w 0.0 is",
    ),
    "float64 to a kernel": (lambda: linear(X.double()), "x is torch.float64: torch.f"),
    "half to a kernel": (lambda: linear(X.half()), "x is torch.float16: torch.float32"),
    "uint8 weights to a kernel": (
        lambda: linear(codes=Q.to(torch.uint8)), "weight is torch.uint8: codes of",
    ),
    "a kernel's scales of another count": (
        lambda: linear(scale=torch.ones(2)), r"weight_scale has shape \(2,\)",
    ),
    "a kernel's bias of another count": (
        lambda: linear(bias=torch.ones(2)), r"bias has shape \(2,\): \(3,\) is needed",
    ),
    "a list to calibrate": (lambda: seen([1.0]), "a batch is a list"),
    "an array to calibrate": (lambda: seen(np.ones(3)), "a batch is a ndarray"),
    "codes to calibrate": (lambda: seen(Q), "a batch of torch.int64"),
    "a percentile of NaN": (
        lambda: calibration.PercentileCalibrator(percentile=NAN), "percentile nan is",
    ),
    "a percentile in words": (
        lambda: calibration.PercentileCalibrator(percentile="99"), "percentile '99' is",
    ),
    "a constant of None": (
        lambda: calibration.MovingAverageCalibrator(constant=None), "constant None is",
    ),
    "a stride of .5": (
        lambda: calibration.MSECalibrator(stride=0.5), "stride 0.5 is not a whole",
    ),
    "bits of True": (
        lambda: calibration.MSECalibrator(bits=True), "bits True is not a whole",
    ),
    "signed in words": (
        lambda: calibration.EntropyCalibrator(signed="no"), "signed 'no' is not True",
    ),
    "bins of True": (lambda: histogram.MagnitudeHistogram(bins=True), "bins True is"),
    "a search of nothing": (
        lambda: search.candidates(
            histogram.MagnitudeHistogram(bins=8), least=1, stride=1
        ),
        "the histogram is empty",
    ),
    "a search's stride of 0": (
        lambda: search.mse_threshold(filled(), bits=8, signed=True, stride=0),
        "stride 0 is not a whole",
    ),
    "a search's bits of .5": (
        lambda: search.entropy_threshold(filled(), bits=3.5, signed=True), "bits 3.5",
    ),
    "an error of lists": (lambda: error.mse([1.0], [1.0]), "x is a list"),
    "an error of bools": (lambda: error.sqnr(X > 0, X > 0), "x is torch.bool: real"),
    "an error whose square overflows": (
        lambda: error.sqnr(X.double() * 1e200, X.double()), "squares overflow",
    ),
    "bins of 0": (lambda: error.kl_divergence(X, X, bins=0), "bins 0 is not a whole"),
    "a step of infinity": (lambda: error.uniform_sqnr(X, INF), "step inf is not a"),
    "a step in words": (lambda: error.uniform_sqnr(X, "1"), "step '1' is not a real"),
    "a weight of integers": (lambda: weights.weight_ranges(Q), "weight is torch.int64"),
    "a weight of one number": (lambda: weights.weight_ranges(ONE), "weight has shape"),
    "a weight's granularity of None": (
        lambda: weights.round_weight(X, granularity=None), "granularity None is not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_line(name):
    call, said = CASES[name]
    with pytest.raises(ValueError, match=said) as raised:
        call()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [6e-8, 1e-5, 1.0, 6e4])
@pytest.mark.parametrize("scheme", ["affine", "scale"])
def test_half_precision_has_the_range_and_scale_of_its_values_in_float32(
    dtype, size, scheme
):
    x = (X * size).to(dtype)
    low, high = qparams.range_of(x)
    assert (low.dtype, low, high) == (torch.float32, x.float().min(), x.float().max())
    # A range handed over in half precision is widened before it is divided.
    for ends in ((low, high), (low.to(dtype), high.to(dtype))):
        found = qparams.choose_qparams(*ends, codes=INT8, scheme=scheme)
        wanted = qparams.choose_qparams(
            x.float().min(), x.float().max(), codes=INT8, scheme=scheme
        )
        assert torch.equal(found.scale, wanted.scale) and found.scale < size / 100
        codes = mapping.quantize(x, found)
        assert torch.equal(codes, mapping.quantize(x.float(), wanted))
        assert codes.unique().numel() == x.unique().numel()
        real = mapping.dequantize(codes, found)
        assert bool(((real - x.float()).abs() <= found.scale).all())


def test_the_widest_and_the_narrowest_range_have_scales():
    most = torch.finfo(torch.float32).max
    wide = qparams.choose_qparams(torch.tensor(-most), torch.tensor(most), codes=INT8)
    assert wide.scale.item() == pytest.approx(2 * (most / 255), rel=1e-6)
    narrow = qparams.choose_qparams(ZERO.float(), torch.tensor(1e-44), codes=INT8)
    # Once 1.0, for its quotient underflows.
    assert narrow.scale == torch.finfo(torch.float32).tiny


def test_what_is_allowed_still_is():
    assert code_range(np.int64(8)) == INT8
    assert integer.linear_sums(Q, Q, input_zero_point=np.int32(1)).shape == (3, 3)
    assert fixedpoint.quantize_multiplier(np.float32(0.5)).mantissa == 2**30
    assert float32(bias=None).shape == Q.shape
