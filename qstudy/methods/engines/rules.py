"""How each engine gets from an integer sum to the next layer's codes, on x86.

Found by comparing element by element, not documented anywhere: the tests and the
formulas chapter hold every rule to its engine's own output. The names of the rules are
those of qstudy.numerics.requantize and qstudy.numerics.elementwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from qstudy.numerics import elementwise, integer
from qstudy.numerics.elementwise import Affine
from qstudy.numerics.mapping import CodeRange

UINT8 = CodeRange(0, 255)


@dataclass(frozen=True, kw_only=True)
class EngineRules:
    """Requantization of convolutions and linear layers, addition, and average pooling.

    `average`: of contiguous tensors, whether the mean of the "codes" itself is rounded,
    their mean "distance" from the zero point, or the mean of "dequantized" values.
    """

    conv2d: str
    linear: str
    add: str
    average: str


ENGINE_RULES: Mapping[str, EngineRules] = {
    "fbgemm": EngineRules(
        conv2d="scaled_bias",
        linear="scaled_bias",
        add="fused",
        average="codes",
    ),
    # torch's default hands convolutions to oneDNN and linear layers to FBGEMM.
    "x86": EngineRules(
        conv2d="real_bias",
        linear="scaled_bias",
        add="fused",
        average="codes",
    ),
    "onednn": EngineRules(
        conv2d="real_bias",
        linear="real_bias",
        add="fused",
        average="codes",
    ),
    "qnnpack": EngineRules(
        conv2d="int32_bias_inverse",
        linear="int32_bias_inverse",
        add="shifted_integers",
        average="distance",
    ),
    "onnxruntime": EngineRules(
        conv2d="int32_bias",
        linear="int32_bias",
        add="zero_point_first",
        average="dequantized",
    ),
}


def rules_of(engine: str) -> EngineRules:
    """The rules of `engine`; ValueError names those that are known."""
    if engine not in ENGINE_RULES:
        raise ValueError(f"engine {engine!r} is not one of {tuple(ENGINE_RULES)}")
    return ENGINE_RULES[engine]


def average(
    x: Tensor, affine: Affine, *, engine: str, size: int, stride: int
) -> Tensor:
    """int32 averages of uint8-valued codes (N, C, H, W), by the rule of `engine`."""
    rule = rules_of(engine).average
    if rule == "dequantized":
        return elementwise.average_dequantized(
            x, size=size, stride=stride, affine=affine, codes=UINT8
        )
    return elementwise.average_float32(
        integer.window_sums(x, size=size, stride=stride),
        count=size * size,
        zero_point=affine.zero_point,
        zero_point_first=rule == "codes",
    )
