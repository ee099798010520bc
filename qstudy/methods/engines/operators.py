"""One quantized operator on one input: random and adversarial cases, our own answer.

Inputs: *random* scales, zero points and codes; *ties*, scales that are powers of two
and small weights, so that many results lie halfway between two codes; *saturating*, an
output range that clips much; *extreme*, zero points of 0 and 255 and codes of 0 and 255
alone. The engines' answers to the same cases: qstudy.methods.engines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qstudy.methods.engines.rules import UINT8, average, rules_of
from qstudy.numerics import elementwise, fixedpoint, integer, requantize
from qstudy.numerics.elementwise import Affine

INPUTS = ("random", "ties", "saturating", "extreme")
# Operator: the options of its convolution or window.
OPERATORS: dict[str, dict[str, int]] = {
    "linear": {},
    "linear_relu": {},
    "conv2d": {"padding": 1},
    "conv2d_relu": {"padding": 1},
    "conv2d_stride": {"padding": 1, "stride": 2, "groups": 2},
    "conv2d_dilated": {"padding": 2, "dilation": 2},
    "conv2d_depthwise": {"padding": 1, "groups": 32},
    "add": {},
    "add_relu": {},
    "avg_pool2d": {"size": 2, "stride": 2},
    "max_pool2d": {"size": 2, "stride": 2},
    "relu": {},
    "relu6": {},
}
# A multiple of what vector instructions take at a time; other sizes end in scalar code.
_CHANNELS = 32
_SIDE = 8


@dataclass(frozen=True, eq=False)
class Case:
    """What one operator is given. `x` and `other` are uint8 codes, `weight` int8."""

    operator: str
    x: Tensor
    input: Affine
    output: Affine
    other: Tensor | None = None
    other_affine: Affine | None = None
    weight: Tensor | None = None
    weight_scale: Tensor | None = None
    bias: Tensor | None = None

    @property
    def options(self) -> dict[str, int]:
        """Stride, padding, dilation, groups, or the window's size and stride."""
        return OPERATORS[self.operator]

    @property
    def relu(self) -> bool:
        """Whether a ReLU is fused into the operator."""
        return self.operator.endswith("_relu")


def make_case(
    operator: str, inputs: str, *, seed: int, activation_bits: int = 8
) -> Case:
    """A case drawn from `seed`; ValueError for an unknown operator or kind of inputs.

    `activation_bits` 7 draws the codes and the zero point of x from 0 to 127.
    """
    if operator not in OPERATORS:
        raise ValueError(f"operator {operator!r} is not one of {tuple(OPERATORS)}")
    if inputs not in INPUTS:
        raise ValueError(f"inputs {inputs!r} is not one of {INPUTS}")
    generator = torch.Generator().manual_seed(seed)
    most = 2**activation_bits - 1

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=generator)

    def codes(*shape: int) -> Tensor:
        drawn = integers(0, most, *shape)
        if inputs == "extreme":
            drawn = torch.where(drawn <= most // 2, 0, most)
        return drawn.to(torch.uint8)

    def affine(scale: float, *, corner: int, top: int) -> Affine:
        zero = int(integers(0, top, 1))
        return Affine(scale, top * corner if inputs == "extreme" else zero)

    linear, ties = operator.startswith("linear"), inputs == "ties"
    shape = (64, _CHANNELS) if linear else (2, _CHANNELS, _SIDE, _SIDE)
    x = codes(*shape)
    start = affine(
        2.0**-4 if ties else uniform(0.001, 0.1, 1).item(), corner=seed % 2, top=most
    )
    # A fused ReLU needs a code above that of zero.
    top, corner = 254 if operator.endswith("_relu") else 255, seed // 2 % 2
    if operator in ("avg_pool2d", "max_pool2d", "relu", "relu6"):
        return Case(operator, x, start, start)
    spread = 1 / 8 if inputs == "saturating" else uniform(0.7, 1.4, 1).item()
    if operator.startswith("add"):
        side = affine(
            2.0**-5 if ties else start.scale * uniform(0.3, 1.0, 1).item(),
            corner=seed // 4 % 2,
            top=255,
        )
        other = codes(*shape)
        scale = 2.0**-3 if ties else start.scale * spread * 2.5
        end = affine(scale, corner=corner, top=top)
        if inputs in ("random", "saturating"):
            # A zero point that puts the middle of the sums in the middle of the codes.
            mean = (x.float().mean() - start.zero_point) * start.scale
            mean = mean + (other.float().mean() - side.zero_point) * side.scale
            middle = round(128 - mean.item() / scale)
            end = Affine(scale, min(max(middle, 0), top))
        return Case(operator, x, start, end, other, side)
    groups = OPERATORS[operator].get("groups", 1)
    kernel = () if linear else (3, 3)
    # Small weights give small sums, of which many are halves of an output step.
    largest = 1 if ties else 127
    weight = integers(-largest - (not ties), largest, _CHANNELS, _CHANNELS // groups,
                      *kernel).to(torch.int8)  # fmt: skip
    scale = 2.0 ** integers(-6, -5, _CHANNELS) if ties else (
        uniform(0.005, 0.02, _CHANNELS)
    )  # fmt: skip
    plain = Case(operator, x, start, start, None, None, weight, scale, None)
    # An output range that the sums about fill, of which saturating is an eighth.
    deviation = (sums(plain).float().std() * start.scale * scale.mean()).item()
    step = deviation * spread / 40
    if ties:
        step = 2.0 ** round(math.log2(step))
    end = affine(step, corner=corner, top=top)
    bias = uniform(-32, 32, _CHANNELS) * step
    if ties:
        unit = start.scale * scale
        bias = torch.round(bias / unit) * unit
    return Case(operator, x, start, end, None, None, weight, scale, bias)


def sums(case: Case) -> Tensor:
    """int32 sums of products of a linear layer or convolution, without its bias."""
    if case.weight.dim() == 2:
        return integer.linear_sums(
            case.x, case.weight, input_zero_point=case.input.zero_point
        )
    return integer.conv2d_sums(
        case.x, case.weight, input_zero_point=case.input.zero_point, **case.options
    )


def answer(case: Case, *, engine: str) -> Tensor:
    """int32 codes of the result by this study's arithmetic, under `engine`'s rule.

    "tflite" is integers alone: two roundings, or one in linear layers.
    """
    if engine == "tflite":
        return _fixed_point(case)
    rules, zero = rules_of(engine), case.output.zero_point
    if case.operator == "max_pool2d":
        return integer.max_pool2d(case.x.to(torch.int32), **case.options)
    if case.operator in ("relu", "relu6"):
        six = round(6 / case.output.scale) + zero
        return integer.clamp_relu(
            case.x.to(torch.int32),
            zero_point=zero,
            six=min(six, 255) if case.operator == "relu6" else None,
        )
    if case.operator == "avg_pool2d":
        return average(case.x, case.input, engine=engine, **case.options)
    if case.other is not None:
        codes = elementwise.add_float32(
            case.x,
            case.other,
            first=case.input,
            second=case.other_affine,
            output=case.output,
            codes=UINT8,
            rule=rules.add,
        )
    else:
        codes = requantize.requantize_float32(
            sums(case),
            bias=case.bias,
            input_scale=case.input.scale,
            weight_scale=case.weight_scale,
            output_scale=case.output.scale,
            output_zero_point=zero,
            codes=UINT8,
            rule=rules.linear if case.weight.dim() == 2 else rules.conv2d,
        )
    return integer.clamp_relu(codes, zero_point=zero) if case.relu else codes


def _fixed_point(case: Case) -> Tensor:
    """int32 codes by integers alone, as TensorFlow Lite's reference kernels compute."""
    zero = case.output.zero_point
    if case.other is not None:
        codes = elementwise.add_fixed_point(
            case.x,
            case.other,
            first=case.input,
            second=case.other_affine,
            output=case.output,
            codes=UINT8,
        )
    elif case.weight is not None:
        # Its convolutions round twice, its fully connected layers once.
        rounding = "double" if case.weight.dim() == 4 else "single_away"
        real = case.weight_scale.double() * case.input.scale / case.output.scale
        found = [
            fixedpoint.quantize_multiplier(m, rounding=rounding) for m in real.tolist()
        ]
        codes = requantize.requantize_fixed_point(
            sums(case),
            bias=requantize.quantize_bias(
                case.bias, case.input.scale, case.weight_scale
            ),
            mantissa=torch.tensor([m.mantissa for m in found]),
            shift=torch.tensor([m.shift for m in found]),
            output_zero_point=zero,
            codes=UINT8,
            rounding=rounding,
        )
    elif case.operator == "avg_pool2d":
        size, stride = case.options["size"], case.options["stride"]
        # TensorFlow Lite's codes are signed: ties of the mean move with them.
        totals = integer.window_sums(
            case.x.to(torch.int16) - 128, size=size, stride=stride
        )
        return elementwise.average_fixed_point(totals, count=size * size) + 128
    else:
        # Clamps are the same in every engine.
        return answer(case, engine="fbgemm")
    return integer.clamp_relu(codes, zero_point=zero) if case.relu else codes


def steps_from_tie(case: Case) -> Tensor | None:
    """float64: how far each exact result lies from a tie, in steps of the output.

    None for operators without a weight or second operand. What an engine decides
    otherwise than its rule can only be a near-tie, unless its sums themselves differ.
    """
    if case.weight is not None:
        channels = (1, -1, *[1] * (case.weight.dim() - 2))
        exact = sums(case).double() * case.input.scale
        exact = exact * case.weight_scale.double().reshape(channels)
        exact = exact + case.bias.double().reshape(channels)
    elif case.other is not None:
        exact = (case.x.double() - case.input.zero_point) * case.input.scale
        second = case.other.double() - case.other_affine.zero_point
        exact = exact + second * case.other_affine.scale
    else:
        return None
    steps = exact / case.output.scale
    return (steps - torch.floor(steps) - 0.5).abs()
