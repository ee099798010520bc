"""A network as a program of TorchScript: its operators called from C++, not Python.

Tracing runs the network once and writes down which operators it called. What it gives
is those operators, in the same kernels, without the modules around them; in a network
of small layers the modules are most of the time. TorchScript is deprecated in favour of
torch.export and torch.compile, and nothing takes its place for the quantized modules of
torch.ao.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from qstudy.methods.frozen import Forward

_DEPRECATED = re.compile(r"`torch\.jit\.\w+` is deprecated")


def trace_frozen(network: nn.Module) -> Forward:
    """`network`, in eval mode, traced and frozen; its weights must not change after.

    Traced on the first call with each shape, since sizes may be written down with the
    rest. To be called in inference_mode. Calls raise ValueError where the network
    chooses by the values of a tensor: a trace would keep the first choice.
    """
    known: dict[torch.Size, nn.Module] = {}

    def forward(x: Tensor) -> Tensor:
        if x.shape not in known:
            # What is traced in inference mode cannot be frozen.
            with torch.inference_mode(False), torch.no_grad(), _tracing():
                program = torch.jit.trace(network, x.clone(), check_trace=False)
                frozen = torch.jit.freeze(program)
            known[x.shape] = frozen
        return known[x.shape](x)

    return forward


@contextmanager
def _tracing() -> Iterator[None]:
    """Tracing without its remarks; the one that matters is an error.

    That TorchScript is deprecated this module says itself, and sizes that are written
    down are those of the one shape that the trace is for.
    """
    # Recorded, since a warning that is made an error crosses C++ here.
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        yield
    for remark in remarks:
        told = str(remark.message)
        if "tensor to a Python boolean" in told:
            raise ValueError(
                "the network chooses by a tensor (an `if` on a value or a size), which "
                "a trace cannot follow: take another route"
            )
        if not (
            issubclass(remark.category, torch.jit.TracerWarning)
            or _DEPRECATED.match(told)
        ):
            warnings.warn_explicit(
                remark.message, remark.category, remark.filename, remark.lineno
            )
