"""The routes through OpenVINO, from the same ONNX file; NNCF quantizes for it.

On processors with bf16 instructions OpenVINO computes a float network in bf16 unless it
is told otherwise; so the precision is named on each route.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qstudy.methods import quiet
from qstudy.methods.routes import route
from qstudy.methods.routes.kernels import Kernels, counted
from qstudy.methods.routes.onnx_routes import exported
from qstudy.methods.routes.route import Built, Source

# Layers that multiply, as its runtime graph names them.
_COMPUTE = (
    *("Convolution", "GroupConvolution", "FullyConnected", "MatMul", "Deconv"),
    *("RNNSeq", "RNNCell", "LSTMSequence", "ScaledDotProductAttention"),
)
_MULTIPLIES = re.compile("Conv|Gemm|MatMul")


def openvino_float(precision: str) -> Callable[[Source], Built]:
    """The exported network computed in "f32" or in "bf16"."""

    def build(source: Source) -> Built:
        core = route.package("openvino").Core()
        model = core.read_model(str(exported(source)))
        mib = exported(source).stat().st_size / 2**20
        return _compiled(core, model, source, precision=precision, mib=mib)

    return build


def openvino_int8(source: Source) -> Built:
    """Quantized by NNCF with its defaults; what stays in floats is computed in f32."""
    openvino = route.package("openvino")
    made = source.folder / "openvino_int8.xml"
    core = openvino.Core()
    if not made.exists():
        _quantize(core, source, made)
    mib = sum(path.stat().st_size / 2**20 for path in (made, made.with_suffix(".bin")))
    return _compiled(core, core.read_model(str(made)), source, precision="f32", mib=mib)


def _quantize(core: Any, source: Source, made: Path) -> None:
    openvino = route.package("openvino")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        nncf = route.package("nncf")
    nncf.set_log_level(40)
    model = core.read_model(str(exported(source)))
    model.reshape([1, *source.example.shape[1:]])
    examples = torch.cat(source.calibration).split(1)
    # It draws progress bars of its own on stdout.
    silent = contextlib.redirect_stdout(io.StringIO())
    with quiet.loggers("nncf"), warnings.catch_warnings(), silent:
        warnings.simplefilter("ignore")
        quantized = nncf.quantize(
            model,
            nncf.Dataset([example.numpy() for example in examples]),
            subset_size=len(examples),
        )
    openvino.save_model(quantized, str(made), compress_to_fp16=False)


def _compiled(
    core: Any, model: Any, source: Source, *, precision: str, mib: float
) -> Built:
    model.reshape([source.batch, *source.example.shape[1:]])
    network = core.compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": route.threads(),
            "INFERENCE_PRECISION_HINT": precision,
        },
    )
    request = network.create_infer_request()

    def forward(x: Tensor) -> Tensor:
        answer = request.infer([x.numpy()], share_inputs=True, share_outputs=False)
        return torch.from_numpy(answer[0])

    def kernels(x: Tensor) -> Kernels:
        del x  # what runs is settled when it is compiled
        return counted(_layers(network.get_runtime_model()))

    return Built(forward, mib, kernels)


def _layers(graph: Any) -> Iterator[str]:
    """ "Convolution u8" and the like: each layer, and what it computed in."""
    for operation in graph.get_ops():
        told = operation.get_rt_info()
        if "layerType" not in told:
            continue
        layer, precision, of = (
            told[key].astype(str)
            for key in ("layerType", "runtimePrecision", "originalLayersNames")
        )
        # A whole chain of small layers may be one generated kernel, a Subgraph.
        if layer in _COMPUTE or (layer == "Subgraph" and _MULTIPLIES.search(of)):
            yield f"{layer} {precision}"
        elif layer == "FakeQuantize":
            yield layer
