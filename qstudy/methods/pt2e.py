"""Static int8 quantization by export (PT2E): torchao's supported successor of `static`.

The network is exported to a graph, batch normalization folded, and quantize/dequantize
nodes put around what inductor's int8 kernels on x86 can take. Run as it is, such a
graph is a simulation in float32, slower than fp32; compiled with frozen weights, it
runs int8 kernels. Node counts tell whether anything was quantized at all, for that can
fail silently. Needs torchao (the extra `engines`).
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, fx, nn

from qstudy.methods import plain, quiet
from qstudy.methods.calibration import checked_batches, observe
from qstudy.methods.frozen import Forward, compile_frozen, inductor_noise
from qstudy.methods.static import ACTIVATION_BITS


def quantize_pt2e(
    model: nn.Module,
    calibration_batches: Iterable[Tensor],
    *,
    activation_bits: int = 8,
) -> fx.GraphModule:
    """A copy of `model` with int8 weights and quantize/dequantize nodes, in eval mode.

    Weights are symmetric per output channel, activations affine uint8 (0 to 127 for 7
    `activation_bits`) with torchao's histogram observer: X86InductorQuantizer's own
    choice, spelled out. Batches are float32 (B, ...), or int64 ids, of one size, alone
    or first in a tuple with labels; the result takes any batch size and simulates int8
    in float32 until `compiled` has lowered it. One ReLU module must not be called twice
    (torchao refuses torchvision's ResNets for that). Raises ValueError for other bits,
    batches that `checked_batches` refuses, or weights that are not float32 or not
    finite, ImportError without torchao.
    """
    if activation_bits not in ACTIVATION_BITS:
        raise ValueError(
            f"activation_bits {activation_bits!r} is not one of {ACTIVATION_BITS}"
        )
    for path, module in model.named_modules():
        reason = plain.departure(module, dtype=torch.float32, computed=True)
        if reason:
            raise ValueError(f"{plain.told(module, path)} {reason}")
    batches = checked_batches(calibration_batches, images=False)
    for number, batch in enumerate(batches, start=1):
        if batch.shape[1:] != batches[0].shape[1:]:
            raise ValueError(
                f"calibration batch {number} has shape {tuple(batch.shape)} and the "
                f"first {tuple(batches[0].shape)}: the exported graph has one size"
            )
    x86 = torchao("quantizer.x86_inductor_quantizer")
    steps = torchao("quantize_pt2e")
    # Two images or more: a batch of one would be exported as the only size there is.
    example = torch.cat([batches[0], batches[0]])
    with warnings.catch_warnings():
        # An LSTM keeps a second list of its weights, which export sees written anew.
        warnings.filterwarnings("ignore", r"(?s).*_flat_weights", UserWarning)
        exported = torch.export.export(
            plain.copied(model),
            (example,),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        ).module()
    quantizer = x86.X86InductorQuantizer().set_global(
        x86.get_default_x86_inductor_quantization_config(
            reduce_range=activation_bits == 7
        )
    )
    observed = steps.prepare_pt2e(exported, quantizer)
    observe(observed, batches)
    return steps.convert_pt2e(observed)


def compiled(network: fx.GraphModule) -> Forward:
    """`network` (from `quantize_pt2e`) lowered to int8 kernels; see compile_frozen.

    Takes what calibrated it and returns float32 (B, classes), in inference_mode.
    """
    lowered = compile_frozen(network)

    def forward(x: Tensor) -> Tensor:
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return lowered(x)

    return forward


@dataclass(frozen=True)
class NodeCount:
    """Nodes of a quantized graph: what rounds, what undoes it, what computes."""

    quantize: int
    dequantize: int
    compute: int


def count_nodes(network: fx.GraphModule) -> NodeCount:
    """Count the quantize, dequantize and conv/linear/add nodes of `network`."""
    names = [str(n.target) for n in network.graph.nodes if n.op == "call_function"]

    def count(*prefixes: str) -> int:
        return sum(name.startswith(prefixes) for name in names)

    return NodeCount(
        quantize=count("quantized_decomposed.quantize"),
        dequantize=count("quantized_decomposed.dequantize"),
        compute=count("aten.conv2d", "aten.linear", "aten.add."),
    )


def torchao(name: str) -> ModuleType:
    """torchao.quantization.pt2e.`name`; ImportError, naming the extra, without it."""
    try:
        # Of CUDA libraries that a CPU has no use for, and of enumerations.
        talk = ("torchao", "torch.utils._pytree")
        with inductor_noise(), quiet.loggers(*talk):
            return importlib.import_module(f"torchao.quantization.pt2e.{name}")
    except ImportError as error:
        raise ImportError(
            f"torchao's PT2E quantization is not importable ({error}): install this "
            "package's extra `engines`"
        ) from error
