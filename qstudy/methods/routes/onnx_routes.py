"""The routes through ONNX: one export, then ONNX Runtime in fp32 and in int8.

The export is torch's older, TorchScript-based one (dynamo=False), deprecated since
torch 2.9: it needs no further package. Where torch no longer has it, its successor is
`torch.onnx.export(..., dynamo=True)`, which asks for onnxscript.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qstudy.methods import plain, quiet
from qstudy.methods.routes import route
from qstudy.methods.routes.kernels import Kernels, counted
from qstudy.methods.routes.route import Built, Source
from qstudy.methods.routes.torch_routes import refuse_convolutions

OPSET = 17
INPUT, BATCH = "x", "batch"


def exported(source: Source) -> Path:
    """The network as ONNX, float32, for any batch size; made once in the folder.

    ValueError, one line, for a network that torch cannot export.
    """
    made = source.folder / "fp32.onnx"
    if not made.exists():
        route.package("onnx")
        with warnings.catch_warnings():
            # That this exporter is deprecated (above), and its remarks on constants.
            warnings.simplefilter("ignore")
            with _replacing(made) as path, quiet.loggers("torch.onnx"):
                torch.onnx.export(
                    plain.copied(source.network),
                    (source.calibration[0],),
                    path,
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=[INPUT],
                    output_names=["y"],
                    dynamic_axes={INPUT: {0: BATCH}, "y": {0: BATCH}},
                )
    return made


def onnxruntime_fp32(source: Source) -> Built:
    """ONNX Runtime on the exported network."""
    return _session(exported(source), source)


def onnxruntime_int8(form: str) -> Callable[[Source], Built]:
    """ONNX Runtime, quantized by its own tool: `form` is "QDQ" or "QOperator".

    Weights int8 per channel, activations uint8, ranges from minimum and maximum.
    """

    def build(source: Source) -> Built:
        made = source.folder / f"{form.lower()}.onnx"
        if not made.exists():
            _quantize(exported(source), made, source, form=form)
        return _session(made, source)

    return build


def onnxruntime_dynamic(source: Source) -> Built:
    """ONNX Runtime, matrix products and LSTMs in int8, ranges found in each call.

    Weights int8 per channel. ValueError for a network with convolutions, whose integer
    form ONNX Runtime has no fast kernel for.
    """
    refuse_convolutions(source.network)
    made = source.folder / "dynamic.onnx"
    if not made.exists():
        tool = route.package("onnxruntime", "quantization")
        fp32 = exported(source)
        with quiet.loggers("root", "onnxruntime"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _replacing(made) as path:
                tool.quantize_dynamic(
                    str(fp32),
                    path,
                    per_channel=True,
                    weight_type=tool.QuantType.QInt8,
                )
    return _session(made, source)


def _quantize(fp32: Path, made: Path, source: Source, *, form: str) -> None:
    tool = route.package("onnxruntime", "quantization")
    shapes = route.package("onnxruntime", "quantization.shape_inference")

    class Reader(tool.CalibrationDataReader):
        """Hands out the calibration batches."""

        def __init__(self) -> None:
            self.left = iter(source.calibration)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch.numpy()}

    prepared = source.folder / "prepared.onnx"
    with quiet.loggers("root", "onnxruntime"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about their own protobuf and files
        if not prepared.exists():
            with _replacing(prepared) as path:
                shapes.quant_pre_process(str(fp32), path)
        with _replacing(made) as path:
            tool.quantize_static(
                str(prepared),
                path,
                Reader(),
                quant_format=tool.QuantFormat[form],
                per_channel=True,
                activation_type=tool.QuantType.QUInt8,
                weight_type=tool.QuantType.QInt8,
            )


class _replacing:
    """A path to write to, put in place of `target` when the block ends well."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = f"{target}.{os.getpid()}.onnx"

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, sort: type | None, *rest: object) -> None:
        if sort is None:
            os.replace(self.path, self.target)
        else:
            Path(self.path).unlink(missing_ok=True)


def _session(path: Path, source: Source) -> Built:
    runtime = route.package("onnxruntime")

    def session(prefix: str = "") -> Any:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = route.threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        # A known batch size lets it choose as engines do that compile for one.
        options.add_free_dimension_override_by_name(BATCH, source.batch)
        if prefix:
            options.enable_profiling = True
            options.profile_file_prefix = prefix
        return runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    ready = session()

    def forward(x: Tensor) -> Tensor:
        return torch.from_numpy(ready.run(None, {INPUT: x.numpy()})[0])

    def kernels(x: Tensor) -> Kernels:
        folder = tempfile.mkdtemp()
        try:
            profiled = session(os.path.join(folder, "profile"))
            profiled.run(None, {INPUT: x.numpy()})
            text = Path(profiled.end_profiling()).read_text(encoding="utf-8")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return counted(_operators(json.loads(text)))

    return Built(forward, path.stat().st_size / 2**20, kernels)


def _operators(events: list[dict[str, Any]]) -> Iterator[str]:
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            yield event["args"]["op_name"]
