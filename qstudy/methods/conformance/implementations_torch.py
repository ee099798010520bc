"""torch and torchao, put to the conformance vectors through their public calls.

torch's observers come through the one door to torch.ao. Each function has the interface
of qstudy.methods.conformance.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from qstudy.methods import quiet
from qstudy.methods.conformance.vectors import NotOffered

# The codes that a quantized dtype of torch has as its own range.
_DTYPES = {(0, 255): torch.quint8, (-128, 127): torch.qint8}


def _floats(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _ints(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def torch_operators(op: str, parameters: dict, input: dict) -> Mapping[str, Any]:
    """torch: its quantized tensors, fake_quantize, round and observers."""
    p = parameters
    if op == "round" and p["rounding"] == "half_even":
        return {"y": torch.round(_floats(input["x"]))}
    if op == "choose_qparams":
        return _observer(p, input)
    if op not in ("quantize", "dequantize", "integer_linear"):
        raise NotOffered(f"no public call for {op}")
    if op == "integer_linear":
        return _int_mm(p, input)
    dtype = _DTYPES.get((p["code_low"], p["code_high"]))
    if dtype is None or p.get("rounding", "half_even") != "half_even":
        raise NotOffered("no quantized tensor with these codes or this rounding")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the quantized dtypes are deprecated
        if op == "quantize":
            x = _floats(input["x"])
            return {"codes": _torch_quantize(x, p, dtype).int_repr()}
        codes = torch.tensor(input["codes"], dtype=_INT[dtype])
        if isinstance(p["scale"], list):
            q = torch._make_per_channel_quantized_tensor(
                codes,
                torch.tensor(p["scale"], dtype=torch.float64),
                _ints(p["zero_point"]),
                p.get("axis", 0),
            )
        else:
            q = torch._make_per_tensor_quantized_tensor(
                codes, p["scale"], p["zero_point"]
            )
        return {"x": q.dequantize()}


_INT = {torch.quint8: torch.uint8, torch.qint8: torch.int8}


def _torch_quantize(x: torch.Tensor, p: dict, dtype: torch.dtype) -> torch.Tensor:
    if isinstance(p["scale"], list):
        scale = torch.tensor(p["scale"], dtype=torch.float64)
        zero = _ints(p["zero_point"]).expand_as(scale)
        return torch.quantize_per_channel(x, scale, zero, p.get("axis", 0), dtype)
    return torch.quantize_per_tensor(x, p["scale"], p["zero_point"], dtype)


def _int_mm(p: dict, i: dict) -> dict:
    x, weight = _ints(i["x"]), _ints(i["weight"])
    if p["input_zero_point"] or np.any(p["weight_zero_point"]):
        raise NotOffered("_int_mm has no zero points")
    if x.abs().max() > 127 or weight.abs().max() > 127:
        raise NotOffered("_int_mm takes int8")
    product = torch._int_mm(x.to(torch.int8), weight.to(torch.int8).t().contiguous())
    return {"sums": product}


def _observer(p: dict, i: dict) -> dict:
    from qstudy.methods import legacy

    if p["scheme"] == "scale" and p.get("convention") != "half_range":
        raise NotOffered("torch's observers are symmetric by half_range alone")
    affine = p["scheme"] == "affine"
    with legacy.announced_removal(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        observer = legacy.eager_api().MinMaxObserver(
            dtype=torch.quint8 if p["code_low"] >= 0 else torch.qint8,
            qscheme=torch.per_tensor_affine if affine else torch.per_tensor_symmetric,
            quant_min=p["code_low"],
            quant_max=p["code_high"],
        )
        observer(_floats([i["low"], i["high"]]))
        scale, zero = observer.calculate_qparams()
    return {"scale": scale.reshape(()), "zero_point": zero.reshape(())}


def torchao(op: str, parameters: dict, input: dict) -> Mapping[str, Any]:
    """torchao.quantization.quant_primitives: the supported successor's functions."""
    with quiet.loggers("torchao", "torch.utils._pytree"):
        from torchao.quantization import quant_primitives as ao

    p = parameters
    if op == "choose_qparams":
        if p["scheme"] == "scale" and p.get("convention") != "half_range":
            raise NotOffered("torchao's symmetric mapping is half_range")
        x = _floats([input["low"], input["high"]])
        scale, zero = ao.choose_qparams_affine(
            x,
            ao.MappingType.ASYMMETRIC
            if p["scheme"] == "affine"
            else ao.MappingType.SYMMETRIC,
            (2,),
            torch.int32,
            p["code_low"],
            p["code_high"],
            scale_dtype=torch.float32,
            zero_point_dtype=torch.int32,
        )
        return {"scale": scale.reshape(()), "zero_point": zero.reshape(())}
    if op not in ("quantize", "dequantize"):
        raise NotOffered(f"no function for {op}")
    if p.get("rounding", "half_even") != "half_even":
        raise NotOffered("torchao rounds half to even")
    values = _floats(input["x"]) if op == "quantize" else _ints(input["codes"])
    block = list(values.shape)
    if isinstance(p["scale"], list):
        block[p.get("axis", 0)] = 1
    scale, zero = _floats(p["scale"]), _ints(p["zero_point"]).to(torch.int32)
    limits = (p["code_low"], p["code_high"])
    if op == "quantize":
        codes = ao.quantize_affine(values, block, scale, zero, torch.int32, *limits)
        return {"codes": codes}
    codes = values.to(torch.int32)
    x = ao.dequantize_affine(codes, block, scale, zero, torch.int32, *limits)
    return {"x": x}
