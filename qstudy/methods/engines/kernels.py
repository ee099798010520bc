"""The same operator through other people's kernels: torch, ONNX Runtime, TFLite.

Each function takes a Case (of `operators`) and gives the codes of the result, int32, so
that they can be compared element by element. The engines' quantized operators are
reached without torch.ao.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from qstudy.measure import system
from qstudy.methods import legacy
from qstudy.methods.engines import tflite
from qstudy.methods.engines.operators import Case

ONNX_OPSET = 21


def available() -> tuple[str, ...]:
    """The engines that can be asked here: torch's, and ONNX Runtime if installed.

    TensorFlow Lite is asked by name alone: its rules are not of engine_rules' kind.
    """
    engines = tuple(system.engines())
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return engines
    return (*engines, "onnxruntime")


def run(case: Case, *, engine: str) -> Tensor:
    """int32 codes of `case` by `engine`, "tflite" too; ValueError for one not here."""
    if engine == tflite.NAME:
        return tflite.run(case)
    if engine not in available():
        raise ValueError(f"engine {engine!r} is not one of {available()}")
    if engine == "onnxruntime":
        return _onnxruntime(case)
    with legacy.engine(engine), warnings.catch_warnings():
        # The quantized tensor types are deprecated; they are what is measured.
        warnings.simplefilter("ignore")
        return _torch(case).int_repr().to(torch.int32)


def _torch(case: Case) -> Tensor:
    x = torch._make_per_tensor_quantized_tensor(
        case.x, case.input.scale, case.input.zero_point
    )
    ops, end = torch.ops.quantized, (case.output.scale, case.output.zero_point)
    if case.operator == "max_pool2d":
        return torch.nn.functional.max_pool2d(x, case.options["size"])
    if case.operator == "avg_pool2d":
        return torch.nn.functional.avg_pool2d(x, case.options["size"])
    if case.operator == "relu":
        return torch.relu(x)
    if case.operator == "relu6":
        return ops.relu6(x, False)
    if case.other is not None:
        y = torch._make_per_tensor_quantized_tensor(
            case.other, case.other_affine.scale, case.other_affine.zero_point
        )
        return (ops.add_relu if case.relu else ops.add)(x, y, *end)
    weight = torch._make_per_channel_quantized_tensor(
        case.weight,
        case.weight_scale.double(),
        torch.zeros(len(case.weight), dtype=torch.int64),
        0,
    )
    if case.weight.dim() == 2:
        packed = ops.linear_prepack(weight, case.bias)
        return (ops.linear_relu if case.relu else ops.linear)(x, packed, *end)
    o = case.options
    packed = ops.conv2d_prepack(
        weight,
        case.bias,
        [o.get("stride", 1)] * 2,
        [o.get("padding", 0)] * 2,
        [o.get("dilation", 1)] * 2,
        o.get("groups", 1),
    )
    return (ops.conv2d_relu if case.relu else ops.conv2d)(x, packed, *end)


def _onnxruntime(case: Case) -> Tensor:
    """One node as an ONNX model, executed on the CPU."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    from qstudy.numerics.requantize import quantize_bias

    def scale(value: object) -> object:
        return np.asarray(value, np.float32)

    def zero(value: int) -> object:
        return np.asarray(value, np.uint8)

    i, o = case.input, case.output
    ends = {"sy": scale(o.scale), "zy": zero(o.zero_point)}
    start = {"sx": scale(i.scale), "zx": zero(i.zero_point)}
    feeds = {"x": case.x.numpy()}
    domain, attributes = "com.microsoft", {}
    if case.weight is not None:
        bias = quantize_bias(case.bias, i.scale, case.weight_scale).numpy()
        weight = {
            "sw": case.weight_scale.numpy(),
            "zw": np.zeros(len(case.weight), np.int8),
        }
        if case.weight.dim() == 2:
            kind, names = "QGemm", ["x", "sx", "zx", "w", "sw", "zw", "b", "sy", "zy"]
            constants = {"w": case.weight.numpy().T.copy()}
        else:
            kind, domain = "QLinearConv", ""
            names = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
            constants = {"w": case.weight.numpy()}
            attributes = {
                "pads": [case.options.get("padding", 0)] * 4,
                "strides": [case.options.get("stride", 1)] * 2,
                "dilations": [case.options.get("dilation", 1)] * 2,
                "group": case.options.get("groups", 1),
            }
        constants |= {**start, **ends, **weight, "b": bias}
    elif case.other is not None:
        kind, names = "QLinearAdd", ["x", "sx", "zx", "a", "sa", "za", "sy", "zy"]
        side = case.other_affine
        constants = {**start, **ends, "sa": scale(side.scale)}
        constants["za"] = zero(side.zero_point)
        feeds["a"] = case.other.numpy()
    elif case.operator == "avg_pool2d":
        kind, names = "QLinearAveragePool", ["x", "sx", "zx", "sy", "zy"]
        constants = {**start, **ends}
    elif case.operator == "max_pool2d":
        kind, domain, names, constants = "MaxPool", "", ["x"], {}
    else:
        kind, domain, names = "Clip", "", ["x", "low", "high"]
        six = min(round(6 / o.scale) + o.zero_point, 255)
        constants = {"low": zero(o.zero_point)}
        constants["high"] = zero(six if case.operator == "relu6" else 255)
    if case.operator.endswith("pool2d"):
        attributes = {
            "kernel_shape": [case.options["size"]] * 2,
            "strides": [case.options["stride"]] * 2,
        }
    node = helper.make_node(kind, names, ["y"], domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        case.operator,
        [helper.make_tensor_value_info(n, TensorProto.UINT8, None) for n in feeds],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", ONNX_OPSET), helper.make_opsetid(domain, 1)]
    model = helper.make_model(
        graph, opset_imports=opsets if domain else opsets[:1], ir_version=10
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    y = torch.from_numpy(session.run(None, feeds)[0]).to(torch.int32)
    # There is no node with the ReLU inside: on codes it is the same clamp everywhere.
    return y.clamp(min=o.zero_point) if case.relu else y
