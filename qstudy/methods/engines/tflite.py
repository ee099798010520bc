"""TensorFlow Lite's reference kernels, asked for one operator on one input.

Its models are flatbuffers of signed bytes, channels last. The codes of a Case are
unsigned, so 128 is taken from codes and zero points and given back to the result, and
borders are padded beforehand, because its SAME padding is another than torch's where
the stride is 2. Needs ai-edge-litert, the successor of tensorflow.lite with the same
kernels, which is no dependency of the study: install it to ask it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from qstudy.methods.engines.operators import Case

NAME = "tflite"
_PACKAGE = "ai_edge_litert"
# The kernels of each operator, by the name of the schema, and their version there.
_KINDS = {
    "linear": ("FULLY_CONNECTED", "FullyConnectedOptions", 12),
    "conv2d": ("CONV_2D", "Conv2DOptions", 3),
    "conv2d_depthwise": ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", 3),
    "add": ("ADD", "AddOptions", 2),
    "avg_pool2d": ("AVERAGE_POOL_2D", "Pool2DOptions", 2),
    "max_pool2d": ("MAX_POOL_2D", "Pool2DOptions", 2),
    "relu": ("RELU", None, 2),
    "relu6": ("RELU6", None, 2),
}


def available() -> bool:
    """Whether its interpreter is installed here."""
    return find_spec(_PACKAGE) is not None


def run(case: Case) -> Tensor:
    """int32 codes of `case` by the reference kernels; ValueError without package."""
    if not available():
        raise ValueError("engine 'tflite' is not here: pip install ai-edge-litert")
    litert = import_module(f"{_PACKAGE}.interpreter")
    inputs = [_nhwc(_signed(x)).numpy() for x in _inputs(case)]
    interpreter = litert.Interpreter(
        model_content=_model(case, inputs),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    y = torch.from_numpy(found).to(torch.int32) + 128
    return y.permute(0, 3, 1, 2) if y.dim() == 4 else y


def _inputs(case: Case) -> list[Tensor]:
    x, padding = case.x, case.options.get("padding", 0)
    if padding:
        x = functional.pad(x, [padding] * 4, value=case.input.zero_point)
    return [x] if case.other is None else [x, case.other]


def _signed(codes: Tensor) -> Tensor:
    return (codes.to(torch.int16) - 128).to(torch.int8)


def _nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous() if x.dim() == 4 else x


def _model(case: Case, inputs: list[Any]) -> bytes:
    """A flatbuffer of one operator, its weights and biases as constants."""
    schema = import_module(f"{_PACKAGE}.schema_py_generated")
    from qstudy.methods.engines.operators import answer
    from qstudy.numerics.requantize import quantize_bias

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []

    def add(values: Any, kind: int, scale: Any, zero: int, *, constant: bool) -> int:
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.name, tensor.type = f"t{len(graph.tensors)}", kind
        tensor.shape = np.asarray(values.shape, np.int32)
        if constant:
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        quantization = schema.QuantizationParametersT()
        quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
        quantization.zeroPoint = np.full(quantization.scale.shape, zero, np.int64)
        quantization.quantizedDimension = (
            3 if constant and case.operator == "conv2d_depthwise" and values.ndim == 4
            else 0
        )  # fmt: skip
        tensor.quantization = quantization
        model.buffers.append(buffer)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    byte, word = schema.TensorType.INT8, schema.TensorType.INT32
    sides = [case.input, case.other_affine]
    places = [
        add(values, byte, side.scale, side.zero_point - 128, constant=False)
        for values, side in zip(inputs, sides, strict=False)
    ]
    graph.inputs = places[:]
    if case.weight is not None:
        weight = _nhwc(case.weight)
        if case.operator == "conv2d_depthwise":
            weight = weight.permute(3, 1, 2, 0).contiguous()  # (1, kh, kw, C)
        bias = quantize_bias(case.bias, case.input.scale, case.weight_scale).numpy()
        places.append(
            add(weight.numpy(), byte, case.weight_scale.numpy(), 0, constant=True)
        )
        scale = case.weight_scale.numpy() * case.input.scale
        places.append(add(bias, word, scale, 0, constant=True))
    shape = _nhwc(answer(case, engine=NAME))  # its shape alone is used
    end = case.output
    result = add(shape, byte, end.scale, end.zero_point - 128, constant=False)

    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    kind, options, version = _KINDS[_family(case.operator)]
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
    operator.inputs, operator.outputs, graph.outputs = places, [result], [result]
    if options:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        operator.builtinOptions = _options(schema, options, case)
    graph.operators, model.operatorCodes, model.subgraphs = [operator], [code], [graph]
    builder = import_module("flatbuffers").Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _family(operator: str) -> str:
    if operator in _KINDS:
        return operator
    return operator.split("_")[0]


def _options(schema: Any, name: str, case: Case) -> Any:
    options, given = getattr(schema, f"{name}T")(), case.options
    activation = schema.ActivationFunctionType
    options.fusedActivationFunction = activation.RELU if case.relu else activation.NONE
    if name in ("Conv2DOptions", "DepthwiseConv2DOptions", "Pool2DOptions"):
        options.padding = schema.Padding.VALID
        options.strideH = options.strideW = given.get("stride", 1)
    if "Conv2D" in name:
        options.dilationHFactor = options.dilationWFactor = given.get("dilation", 1)
    if name == "DepthwiseConv2DOptions":
        options.depthMultiplier = 1
    if name == "Pool2DOptions":
        options.filterHeight = options.filterWidth = given["size"]
    return options
