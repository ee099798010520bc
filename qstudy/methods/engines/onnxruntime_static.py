"""ONNX Runtime's own static quantizer, given the same network and the same images.

The float network is written as an ONNX graph node by node, its normalizations folded;
what is quantized and how is then ONNX Runtime's decision
(onnxruntime.quantization.quantize_static), which puts pairs of QuantizeLinear and
DequantizeLinear around what it finds and lets the session fuse them into integer
kernels.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from qstudy.methods import fusion
from qstudy.methods.simulate.traced import Traced, trace

OPSET = 17
CALIBRATIONS = ("MinMax", "Entropy", "Percentile")


def quantized_session(
    model: nn.Module,
    batches: Iterable[Tensor],
    *,
    per_channel: bool = False,
    unsigned: bool = False,
    calibration: str = "MinMax",
) -> Callable[[Tensor], Tensor]:
    """A function of float32 batches that runs `model` quantized by ONNX Runtime.

    The defaults are the library's own: signed 8-bit codes for weights and activations,
    per tensor, ranges by MinMax. `unsigned` gives activations uint8 codes. One thread.
    Raises ValueError for another calibration, an operation that `to_onnx` refuses, and
    ImportError where onnx or onnxruntime is not installed.
    """
    import onnx
    import onnxruntime
    from onnxruntime import quantization

    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration {calibration!r} is not one of {CALIBRATIONS}")
    shown = [batch.contiguous().numpy() for batch in batches]
    kinds = quantization.QuantType
    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(to_onnx(model, shown[0].shape[1:]), plain)
        root = logging.getLogger()
        before = root.level
        root.setLevel(logging.ERROR)  # it advises to preprocess, which is done here
        try:
            quantization.quantize_static(
                plain,
                made,
                _reader(shown),
                per_channel=per_channel,
                activation_type=kinds.QUInt8 if unsigned else kinds.QInt8,
                weight_type=kinds.QInt8,
                calibrate_method=quantization.CalibrationMethod[calibration],
            )
        finally:
            root.setLevel(before)
        content = made.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def forward(x: Tensor) -> Tensor:
        (found,) = session.run(None, {name: x.contiguous().numpy()})
        return torch.from_numpy(found)

    return forward


def to_onnx(model: nn.Module, shape: tuple[int, int, int]) -> Any:
    """`model` in eval mode as an onnx.ModelProto for images of `shape` (C, H, W).

    Convolution (with its normalization), linear, ReLU, addition, pooling to one pixel
    and flattening: the ResNets of this study. ValueError, naming the node, for another.
    """
    from onnx import TensorProto, helper

    fused = fusion.fuse(model)
    traced = trace(fused)
    nodes: list[Any] = []
    weights: list[Any] = []
    names: dict[fx.Node, str] = {}
    output = ""
    for node in traced.graph.nodes:
        if node.op == "output":
            output = names[node.args[0]]
        elif node.op == "placeholder":
            names[node] = "x"
        else:
            names[node] = node.name
            nodes.append(_node(node, traced, names, weights))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = 8
    return made


def _node(
    node: fx.Node, traced: Traced, names: dict[fx.Node, str], weights: list[Any]
) -> Any:
    from onnx import helper, numpy_helper

    module = (
        traced.root.get_submodule(node.target) if node.op == "call_module" else None
    )
    inputs = [names[source] for source in node.all_input_nodes]
    kind, options = traced.kinds[node], {}

    def hold(name: str, tensor: Tensor) -> str:
        array = np.ascontiguousarray(tensor.detach().numpy())
        weights.append(numpy_helper.from_array(array, f"{node.name}.{name}"))
        return f"{node.name}.{name}"

    if kind in ("conv", "linear"):
        inputs.append(hold("weight", module.weight))
        if module.bias is not None:
            inputs.append(hold("bias", module.bias))
    if kind == "conv" and module.padding_mode == "zeros":
        op = "Conv"
        options = {
            "kernel_shape": list(module.kernel_size),
            "strides": list(module.stride),
            "pads": [*module.padding, *module.padding],
            "dilations": list(module.dilation),
            "group": module.groups,
        }
    elif kind == "linear":
        op, options = "Gemm", {"transB": 1}
    elif kind == "clamp" and isinstance(module, nn.ReLU):
        op = "Relu"
    elif kind == "add":
        op = "Add"
    elif kind == "average" and getattr(module, "output_size", 0) in (1, (1, 1)):
        op = "GlobalAveragePool"
    elif kind == "pass" and isinstance(module, nn.Flatten):
        op = "Flatten"
    else:
        raise ValueError(
            f"node {node.name!r} ({kind}) is not written as ONNX here: known are conv, "
            "linear, relu, add, pooling to one pixel and flatten"
        )
    return helper.make_node(op, inputs, [node.name], name=node.name, **options)


def _reader(shown: list[np.ndarray]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter([{"x": images} for images in shown])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    return Batches()
