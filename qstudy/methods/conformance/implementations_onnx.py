"""ONNX Runtime and onnx.reference, put to the conformance vectors one node at a time.

Each function has the interface of qstudy.methods.conformance.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from qstudy.methods.conformance.vectors import NotOffered

# The codes that a type of ONNX has as its own range.
_DTYPES = {
    (0, 255): np.uint8,
    (-128, 127): np.int8,
    (0, 65535): np.uint16,
    (-32768, 32767): np.int16,
}


def onnxruntime(op: str, parameters: dict, input: dict) -> Mapping[str, Any]:
    """ONNX Runtime: its CPU kernels, and its Python function for scales."""
    if op == "choose_qparams":
        return _onnx_scales(parameters, input)
    import onnxruntime as runtime

    model, feeds, names = _onnx_model(op, parameters, input)
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what it refuses is told by its exception
    try:
        session = runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except runtime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        raise NotOffered("no CPU kernel for these types") from error
    try:
        found = session.run(None, feeds)
    except runtime.capi.onnxruntime_pybind11_state.Fail as error:
        # Said aloud and never a wrong number: such as zero points of each channel.
        raise NotOffered(str(error).splitlines()[0]) from error
    return dict(zip(names, found, strict=True))


def onnx_reference(op: str, parameters: dict, input: dict) -> Mapping[str, Any]:
    """onnx.reference: ONNX's own evaluator in NumPy."""
    from onnx.reference import ReferenceEvaluator

    model, feeds, names = _onnx_model(op, parameters, input)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's casts inside the evaluator
        found = ReferenceEvaluator(model).run(None, feeds)
    return dict(zip(names, found, strict=True))


def _onnx_scales(p: dict, i: dict) -> dict:
    from onnxruntime.quantization.quant_utils import compute_scale_zp

    symmetric = p["scheme"] == "scale"
    signed = p["code_low"] < 0
    fits = {"unsigned": not signed, "max_code": p["code_low"] == -p["code_high"]}
    if symmetric and not fits.get(p.get("convention"), False):
        raise NotOffered("its symmetric scale is 2 m / (levels - 1) of its codes")
    dtype = np.int8 if signed else np.uint8
    zero, scale = compute_scale_zp(
        np.float32(i["low"]),
        np.float32(i["high"]),
        np.array(p["code_low"], dtype),
        np.array(p["code_high"], dtype),
        symmetric,
    )
    return {"scale": scale, "zero_point": zero}


def _onnx_model(op: str, p: dict, i: dict) -> tuple[Any, dict, tuple[str, ...]]:
    """(model of one node, its feeds, the names of its outputs)."""
    from onnx import helper, numpy_helper

    def byte(values: Any, *, low: int | None = None) -> np.ndarray:
        array = np.asarray(values)
        signed = (array.min() if low is None else low) < 0
        return array.astype(np.int8 if signed else np.uint8)

    def zero_like(codes: np.ndarray, values: Any) -> np.ndarray:
        return np.asarray(values).astype(codes.dtype)

    attributes: dict[str, Any] = {}
    if op in ("quantize", "dequantize"):
        dtype = _DTYPES.get((p["code_low"], p["code_high"]))
        if dtype is None or p.get("rounding", "half_even") != "half_even":
            raise NotOffered("ONNX has no type with these codes or this rounding")
        scale = np.asarray(p["scale"], np.float32)
        zero = np.broadcast_to(np.asarray(p["zero_point"], dtype), scale.shape).copy()
        attributes = {"axis": p.get("axis", 0)} if scale.ndim else {}
        if op == "quantize":
            kind, names = "QuantizeLinear", ("codes",)
            feeds = {"x": np.asarray(i["x"], np.float32)}
        else:
            kind, names = "DequantizeLinear", ("x",)
            feeds = {"x": np.asarray(i["codes"], dtype)}
        feeds |= {"scale": scale, "zero": zero}
    elif op == "dynamic_quantize":
        kind, names = "DynamicQuantizeLinear", ("codes", "scale", "zero_point")
        feeds = {"x": np.asarray(i["x"], np.float32)}
    elif op in ("integer_linear", "integer_conv2d"):
        x, weight = byte(i["x"]), byte(i["weight"])
        names, kind = ("sums",), "MatMulInteger"
        if op == "integer_linear":
            weight = weight.T.copy()
        else:
            kind, attributes = "ConvInteger", _conv_attributes(p)
        feeds = {"x": x, "w": weight, "zx": zero_like(x, p["input_zero_point"])}
        feeds["zw"] = zero_like(weight, p["weight_zero_point"])
    elif op in ("qlinear_matmul", "qlinear_conv2d"):
        low = p["code_low"]
        # Bytes of the source: signed where its output is, weights by their own values.
        x = byte(i["x"], low=min(low, np.min(i["x"])))
        weight = byte(i["weight"], low=min(low, np.min(i["weight"])))
        names, kind = ("codes",), "QLinearMatMul"
        if op == "qlinear_matmul":
            weight = weight.T.copy()
        else:
            kind, attributes = "QLinearConv", _conv_attributes(p)
        w_scale = np.asarray(p["weight_scale"], np.float32)
        w_zero = np.broadcast_to(
            zero_like(weight, p["weight_zero_point"]), w_scale.shape
        ).copy()
        feeds = {
            "x": x,
            "sx": np.float32(p["input_scale"]),
            "zx": zero_like(x, p["input_zero_point"]),
            "w": weight,
            "sw": w_scale,
            "zw": w_zero,
            "sy": np.float32(p["output_scale"]),
            "zy": byte(p["output_zero_point"], low=low),
        }
    else:
        raise NotOffered(f"ONNX has no operator for {op}")
    arrays = {name: np.asarray(value) for name, value in feeds.items()}
    # A field may bear the name of an input; in a graph names are unique.
    results = [f"found_{name}" for name in names]
    node = helper.make_node(kind, list(arrays), results, **attributes)
    kinds = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in arrays.items()}
    constants = [n for n in arrays if n != "x"]
    graph = helper.make_graph(
        [node],
        op,
        [helper.make_tensor_value_info("x", kinds["x"], None)],
        [helper.make_empty_tensor_value_info(n) for n in results],
        [numpy_helper.from_array(arrays[n], n) for n in constants],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    return model, {"x": arrays["x"]}, names


def _conv_attributes(p: dict) -> dict:
    return {
        "pads": [p.get("padding", 0)] * 4,
        "strides": [p.get("stride", 1)] * 2,
        "dilations": [p.get("dilation", 1)] * 2,
        "group": p.get("groups", 1),
    }
