"""Compile a network for inference on a CPU, its weights frozen into the program.

Frozen weights are laid out once for oneDNN's kernels, and only then does inductor fuse
a ReLU or an addition into a convolution, or turn quantize and dequantize nodes into an
int8 kernel. Asking for it by torch.compile(options={"freezing": True}) has no effect in
torch 2.13: weights are marked as constants while the network is traced, when that
option does not hold yet. So inductor's configuration itself is changed, during
compilation only.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, fx

Forward = Callable[[Tensor], Tensor]


def compile_frozen(network: fx.GraphModule) -> Forward:
    """`network` compiled for CPU inference; the weights must not change afterwards.

    A graph module is asked for because each has code of its own: torch compiles the
    code of a class for eight networks and then refuses. Compilation happens on the
    first call with each shape, at most eight of them, and takes as long as thousands of
    calls: call once before timing. To be called in inference_mode. Raises RuntimeError
    where no C++ compiler is found.
    """
    # Inductor's own choice of compiler, asked before it fails at length.
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise RuntimeError(
            f"torch.compile finds no C++ compiler {compiler!r}: install g++, name one "
            "in CXX, or leave the compiled form out"
        )
    # Shapes left symbolic would cost speed.
    compiled = torch.compile(network, dynamic=False, fullgraph=True)
    seen: set[torch.Size] = set()

    def forward(x: Tensor) -> Tensor:
        if x.shape in seen:
            return compiled(x)
        with inductor_noise(), _freezing():
            y = compiled(x)
        seen.add(x.shape)
        return y

    return forward


@contextmanager
def inductor_noise() -> Iterator[None]:
    """Silence three warnings about torch's own code; every other warning passes.

    One comes when inductor is imported, one when it lowers int8 layers, and one when
    Dynamo traces an autograd function, which it instantiates.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"`torch\.jit\.script_method` is dep", DeprecationWarning
        )
        warnings.filterwarnings(
            "ignore", "To copy construct from a tensor", UserWarning
        )
        warnings.filterwarnings(
            "ignore", ".*should not be instantiated", DeprecationWarning
        )
        yield


def _freezing() -> AbstractContextManager:
    # Imported late: inductor is slow to load and only this form needs it.
    import torch._inductor.config as inductor

    return inductor.patch(freezing=True)
