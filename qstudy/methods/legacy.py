"""The only door to torch.ao.quantization, the eager API that PyTorch is removing.

Its replacement is torchao's PT2E quantization (qstudy.methods.pt2e); the removal is
tracked in pytorch/ao issue 2259 and, for the quantized dtypes, pytorch issue 184982.
Nothing else in the package imports the API or silences its warnings.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch

from qstudy.measure.system import check_engine


def eager_api() -> ModuleType:
    """torch.ao.quantization; ImportError, naming its replacement, where it is gone."""
    return _import("torch.ao.quantization")


def quantized_modules() -> ModuleType:
    """torch.ao.nn.quantized, the layers that hold integers; errors as `eager_api`."""
    return _import("torch.ao.nn.quantized")


def qat_modules() -> ModuleType:
    """torch.ao.nn.intrinsic.qat, the fused layers that train; errors as `eager_api`."""
    return _import("torch.ao.nn.intrinsic.qat")


def fused_quantized_modules() -> ModuleType:
    """torch.ao.nn.intrinsic.quantized, those of them that end in a ReLU; errors too."""
    return _import("torch.ao.nn.intrinsic.quantized")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"torch {torch.__version__} has no {name}: install the torch that "
            "pyproject.toml names, or use torchao's PT2E (qstudy.methods.pt2e)"
        ) from error


@contextmanager
def announced_removal() -> Iterator[None]:
    """Silence the two warnings that announce what this module's docstring says.

    They come on each call and name no way out that static int8 convolutions could take
    within this API. Every other warning passes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"torch\.ao\.quantization is deprecated", DeprecationWarning
        )
        warnings.filterwarnings(
            "ignore", r"torch\.quantize_per_tensor, .* are deprecated", UserWarning
        )
        yield


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Make `name` torch's quantized engine, for this process, and restore the old one.

    The engine decides how weights are packed at conversion and which kernels some
    operations take at run time, so both must happen under the same one. It is global to
    the process: two threads must not use two engines at once. Raises ValueError for an
    engine that this machine's torch does not have.
    """
    backend = torch.backends.quantized
    before = backend.engine
    # Asked first: a network that runs under its engine passes here on each call.
    if name == before:
        yield
        return
    check_engine(name)
    backend.engine = name
    try:
        yield
    finally:
        backend.engine = before
