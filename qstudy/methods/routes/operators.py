"""One convolution or one linear layer, in fp32 and in int8, for a map of who wins.

fp32 is called twice: as torch's eager operator, which lays its weight out anew in each
call, and with the weight laid out before, which is the operator that inductor calls.
int8 is the engine's operator on codes, and the same with its ends: float in, quantized,
computed, dequantized. A ReLU is in neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from qstudy.methods import legacy

OPERATORS = ("conv", "depthwise", "linear")
FLOATS = ("eager", "packed")
KERNEL = 3
SCALE, ZERO_POINT = 0.05, 128


def names(
    operator: str, shapes: Sequence[Sequence[int]], engines: Sequence[str]
) -> list[str]:
    """Candidates of each shape, "conv-64-28.fp32:packed" and the like."""
    forms = [f"fp32:{how}" for how in FLOATS]
    forms += [f"int8:{engine}{ends}" for engine in engines for ends in ("", "-ends")]
    return [
        f"{operator}-{'-'.join(map(str, shape))}.{form}"
        for shape in shapes
        for form in forms
    ]


def timed_operator(*, name: str, batch: int) -> Callable[[], Tensor]:
    """What a timing worker times; `name` is one of `names`.

    Shapes: of a convolution and a depthwise one (channels, image side), 3 x 3, stride
    1, padded; of a linear layer (inputs, outputs). ValueError for another name.
    """
    layer, _, form = name.partition(".")
    operator, *sides = layer.split("-")
    precision, _, how = form.partition(":")
    if (
        operator not in OPERATORS
        or precision not in ("fp32", "int8")
        or len(sides) != 2
    ):
        raise ValueError(f"operator {name!r} is not one of {OPERATORS} in a form")
    first, second = map(int, sides)
    generator = torch.Generator().manual_seed(0)
    groups = first if operator == "depthwise" else 1
    if operator == "linear":
        x = torch.randn(batch, first, generator=generator)
        weight = torch.randn(second, first, generator=generator) / first**0.5
    else:
        x = torch.randn(batch, first, second, second, generator=generator)
        x = x.contiguous(memory_format=torch.channels_last)
        fan = KERNEL * KERNEL * first // groups
        weight = torch.randn(
            first, first // groups, KERNEL, KERNEL, generator=generator
        )
        weight = weight / fan**0.5
    bias = torch.zeros(len(weight))
    if precision == "fp32":
        return _float(x, weight, bias, groups=groups, packed=how == "packed")
    engine = how.removesuffix("-ends")
    return _int8(x, weight, bias, groups=groups, engine=engine, ends=how != engine)


def _inference(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            return call()

    return run


def _float(
    x: Tensor, weight: Tensor, bias: Tensor, *, groups: int, packed: bool
) -> Callable[[], Tensor]:
    middle = KERNEL // 2
    if weight.dim() == 2:
        if not packed:
            return _inference(lambda: F.linear(x, weight, bias))
        laid = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
        operator = torch.ops.mkldnn._linear_pointwise
        return _inference(lambda: operator(x, laid, bias, "none", [], ""))
    ends = ([middle] * 2, [1] * 2, [1] * 2)
    if not packed:
        last = weight.contiguous(memory_format=torch.channels_last)
        return _inference(lambda: F.conv2d(x, last, bias, 1, middle, 1, groups))
    laid = torch.ops.mkldnn._reorder_convolution_weight(weight, *ends, groups, x.shape)
    operator = torch.ops.mkldnn._convolution_pointwise
    return _inference(lambda: operator(x, laid, bias, *ends, groups, "none", [], ""))


def _int8(
    x: Tensor, weight: Tensor, bias: Tensor, *, groups: int, engine: str, ends: bool
) -> Callable[[], Tensor]:
    scales = weight.flatten(1).abs().amax(1).double() / 127
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    ops = torch.ops.quantized
    with legacy.engine(engine), legacy.announced_removal():
        codes = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        if weight.dim() == 2:
            packed, operator = ops.linear_prepack(codes, bias), ops.linear
        else:
            middle = [KERNEL // 2] * 2
            packed = ops.conv2d_prepack(codes, bias, [1, 1], middle, [1, 1], groups)
            operator = ops.conv2d
        quantized = torch.quantize_per_tensor(x, SCALE, ZERO_POINT, torch.quint8)

    def kernel() -> Tensor:
        with legacy.engine(engine):
            return operator(quantized, packed, SCALE, ZERO_POINT)

    def whole() -> Tensor:
        with legacy.engine(engine):
            codes = torch.quantize_per_tensor(x, SCALE, ZERO_POINT, torch.quint8)
            return operator(codes, packed, SCALE, ZERO_POINT).dequantize()

    return _inference(whole if ends else kernel)
