"""The implementations that the conformance vectors are put to, by name.

`qstudy` is this study's own arithmetic; the installed packages it is compared with are
in implementations_torch and implementations_onnx. See qstudy.methods.conformance for
the interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from qstudy.methods.conformance import (
    implementations_onnx,
    implementations_torch,
)
from qstudy.methods.conformance.vectors import Implementation, NotOffered
from qstudy.numerics import calibration, fixedpoint, integer, mapping, qparams
from qstudy.numerics.granularity import PerChannel, PerTensor
from qstudy.numerics.mapping import CodeRange, QParams


def qstudy(op: str, parameters: dict, input: dict) -> Mapping[str, Any]:
    """This study's own arithmetic: qstudy.numerics."""
    answers = {
        "quantize": _quantize,
        "dequantize": _dequantize,
        "round": lambda p, i: {
            "y": mapping.round_to_integer(_floats(i["x"]), rounding=p["rounding"])
        },
        "choose_qparams": _choose,
        "dynamic_quantize": _dynamic,
        "quantize_multiplier": lambda p, i: vars(
            fixedpoint.quantize_multiplier(i["real"], rounding=p["rounding"])
        ),
        "multiply_fixed_point": _multiply,
        "high_multiply": lambda p, i: {
            "y": fixedpoint.rounding_doubling_high_multiply(
                _ints(i["a"]), _ints(i["b"])
            )
        },
        "divide_by_power_of_two": lambda p, i: {
            "y": fixedpoint.rounding_divide_by_power_of_two(
                _ints(i["x"]), i["exponent"]
            )
        },
        "integer_linear": lambda p, i: {"sums": _sums(p, i)},
        "integer_conv2d": lambda p, i: {"sums": _sums(p, i)},
        "qlinear_matmul": _qlinear,
        "qlinear_conv2d": _qlinear,
        "calibrate": _calibrate,
    }
    if op not in answers:
        raise NotOffered(f"no operation {op!r}")
    return answers[op](parameters, input)


def _floats(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _ints(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def _codes(parameters: dict) -> CodeRange:
    return CodeRange(parameters["code_low"], parameters["code_high"])


def _qparams(p: dict) -> QParams:
    scale, zero = _floats(p["scale"]), _ints(p["zero_point"])
    per_channel = PerChannel(p.get("axis", 0)) if scale.dim() else PerTensor()
    return QParams(scale, zero.expand_as(scale), _codes(p), per_channel)


def _quantize(p: dict, i: dict) -> dict:
    rounding = p.get("rounding", "half_even")
    return {"codes": mapping.quantize(_floats(i["x"]), _qparams(p), rounding=rounding)}


def _dequantize(p: dict, i: dict) -> dict:
    return {"x": mapping.dequantize(_ints(i["codes"]), _qparams(p))}


def _choose(p: dict, i: dict) -> dict:
    found = qparams.choose_qparams(
        _floats(i["low"]),
        _floats(i["high"]),
        codes=_codes(p),
        scheme=p["scheme"],
        convention=p.get("convention", "max_code"),
    )
    return {"scale": found.scale, "zero_point": found.zero_point}


def _dynamic(p: dict, i: dict) -> dict:
    x, codes = _floats(i["x"]), mapping.code_range(8, signed=False)
    found = qparams.choose_qparams(*qparams.range_of(x), codes=codes)
    return {
        "codes": mapping.quantize(x, found),
        "scale": found.scale,
        "zero_point": found.zero_point,
    }


def _multiply(p: dict, i: dict) -> dict:
    mantissa, shift = i.get("mantissa"), i.get("shift")
    if "real" in i:
        m = fixedpoint.quantize_multiplier(i["real"], rounding=p["rounding"])
        mantissa, shift = m.mantissa, m.shift
    return {
        "y": fixedpoint.multiply(_ints(i["x"]), mantissa, shift, rounding=p["rounding"])
    }


def _sums(p: dict, i: dict) -> torch.Tensor:
    x, weight = _ints(i["x"]), _ints(i["weight"])
    zeros = {
        "input_zero_point": p["input_zero_point"],
        "weight_zero_point": _ints(p["weight_zero_point"]),
    }
    if weight.dim() == 2:
        return integer.linear_sums(x, weight, **zeros)
    options = {k: p[k] for k in ("stride", "padding", "dilation", "groups") if k in p}
    return integer.conv2d_sums(x, weight, **zeros, **options)


def _qlinear(p: dict, i: dict) -> dict:
    from qstudy.numerics.requantize import requantize_float32

    codes = requantize_float32(
        _sums(p, i),
        bias=None,
        input_scale=p["input_scale"],
        weight_scale=_floats(p["weight_scale"]),
        output_scale=p["output_scale"],
        output_zero_point=p["output_zero_point"],
        codes=_codes(p),
        rule="int32_bias",
    )
    return {"codes": codes}


def _calibrate(p: dict, i: dict) -> dict:
    search = {"bits": p.get("bits", 8), "signed": not p.get("unsigned", False)}
    sorts = {
        "max": lambda: calibration.MaxCalibrator(),
        "percentile": lambda: calibration.PercentileCalibrator(
            percentile=p["percentile"]
        ),
        "mse": lambda: calibration.MSECalibrator(**search),
        "entropy": lambda: calibration.EntropyCalibrator(**search),
    }
    calibrator = sorts[p["calibrator"]]()
    for batch in _batches(i):
        calibrator.update(batch)
    low, high = calibrator.range()
    return {"amax": max(-low, high)}


def _batches(i: dict) -> list[torch.Tensor]:
    if "batches" in i:
        return [_floats(batch) for batch in i["batches"]]
    parts = []
    for term in i["formula"].split("+"):
        name, _, rest = term.strip().rstrip(")").partition("(")
        numbers = [float(n) for n in rest.split(",")]
        if name == "arange":
            parts.append(torch.arange(int(numbers[0]), dtype=torch.float32))
        else:
            parts.append(torch.full((int(numbers[1]),), numbers[0]))
    return [torch.cat(parts)]


IMPLEMENTATIONS: dict[str, Implementation] = {
    "qstudy": qstudy,
    "torch": implementations_torch.torch_operators,
    "torchao": implementations_torch.torchao,
    "onnxruntime": implementations_onnx.onnxruntime,
    "onnx_reference": implementations_onnx.onnx_reference,
}
_PACKAGES = {"onnxruntime": "onnxruntime", "onnx_reference": "onnx"}


def installed() -> dict[str, Implementation]:
    """Those of IMPLEMENTATIONS whose packages are here, by name."""
    from importlib.util import find_spec

    return {
        name: function
        for name, function in IMPLEMENTATIONS.items()
        if find_spec(_PACKAGES.get(name, name))
    }
