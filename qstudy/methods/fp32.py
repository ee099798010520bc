"""The unquantized forms of a network that a quantized one must beat.

"Faster than fp32" means little until it says which fp32: as users write it, with a
better memory layout, with batch normalization folded, or compiled. Each form is offered
in float32 and in bfloat16, and the fastest of each is the baseline to print.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from qstudy.methods import fusion, plain
from qstudy.methods.frozen import Forward, compile_frozen
from qstudy.methods.torchscript import trace_frozen

FP32_CANDIDATES = (
    "eager",
    "channels_last",
    "channels_last_fused",
    "traced",
    "compiled",
)
BF16_CANDIDATES = FP32_CANDIDATES
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def candidate(model: nn.Module, how: str, *, precision: str = "fp32") -> Forward:
    """The form `how` (one of FP32_CANDIDATES) of `model`; see the function so named."""
    forms = {form.__name__: form for form in _FORMS}
    if how not in forms:
        raise ValueError(f"form {how!r} is not one of {FP32_CANDIDATES}")
    return forms[how](model, precision=precision)


def eager(model: nn.Module, *, precision: str = "fp32") -> Forward:
    """As users write it: NCHW, nothing folded.

    Like all forms: takes float32 (B, ...) in any memory layout, or int64 ids, and
    returns float32 (B, classes), conversions included in its time; works on a copy in
    eval mode, under inference_mode. `precision` is a key of PRECISIONS and is that of
    every weight and activation; folding is done in the network's own. Raises ValueError
    for another.
    """
    return _forward(plain.copied(model), torch.contiguous_format, precision)


def channels_last(model: nn.Module, *, precision: str = "fp32") -> Forward:
    """`eager` with weights and activations stored NHWC, which the kernels prefer."""
    return _forward(plain.copied(model), torch.channels_last, precision)


def channels_last_fused(model: nn.Module, *, precision: str = "fp32") -> Forward:
    """`channels_last` with batch normalization folded into the convolutions."""
    return _forward(fusion.fuse(model), torch.channels_last, precision)


def traced(model: nn.Module, *, precision: str = "fp32") -> Forward:
    """`channels_last_fused` run by TorchScript; see torchscript.trace_frozen."""
    network = fusion.fuse(model)
    return _forward(network, torch.channels_last, precision, prepare=trace_frozen)


def compiled(model: nn.Module, *, precision: str = "fp32") -> Forward:
    """`channels_last_fused`, compiled by inductor with its weights frozen.

    Compiles on the first call with each batch size; see frozen.compile_frozen, also for
    the RuntimeError where no C++ compiler is found.
    """
    # The folded network without Identity modules between its layers.
    graph = fx.symbolic_trace(fusion.fuse(model))
    return _forward(graph, torch.channels_last, precision, prepare=compile_frozen)


_FORMS = (eager, channels_last, channels_last_fused, traced, compiled)


def _forward(
    owned: nn.Module,
    layout: torch.memory_format,
    precision: str,
    prepare: Callable[[nn.Module], Forward] = lambda network: network,
) -> Forward:
    """`owned` is a copy of ours and is changed here."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {tuple(PRECISIONS)}")
    dtype = PRECISIONS[precision]
    network = prepare(owned.eval().to(dtype=dtype, memory_format=layout))

    def forward(x: Tensor) -> Tensor:
        # Only images have the other layout.
        order = layout if x.dim() == 4 else torch.contiguous_format
        with torch.inference_mode():
            if x.is_floating_point():  # ids are what they are
                x = x.to(dtype=dtype, memory_format=order)
            return network(x).float()

    return forward
