"""What every route is given and gives."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from qstudy.methods.routes.kernels import Kernels, Spent


@dataclass(frozen=True)
class Source:
    """A network to be taken along a route.

    `network` is float32 in eval mode and is left as it is. `example` (B, ...) is
    float32, or int64 ids below `vocabulary` where that is not 0; its size is that of
    every call, its values do not matter. `calibration`
    are batches of the same kind, each of 2 examples or more. `folder` keeps what a
    route makes of the network (ONNX files and the like), so that a second process need
    not make it again: one folder, one network. `made` is the same within a process, for
    what several routes begin with.
    """

    network: nn.Module
    example: Tensor
    calibration: tuple[Tensor, ...]
    folder: Path
    vocabulary: int = 0
    made: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def batch(self) -> int:
        return self.example.shape[0]


@dataclass(frozen=True)
class Built:
    """A network at the end of a route.

    `forward` takes what is like the example and gives float32, under
    inference_mode, on as many threads as torch had when it was built. `size_mib` is a
    file of its weights. `kernels(x)` runs once and counts. `spent(x, calls)` says where
    the time goes; None where an engine does not tell.
    """

    forward: Callable[[Tensor], Tensor]
    size_mib: float
    kernels: Callable[[Tensor], Kernels]
    spent: Callable[[Tensor, int], Spent] | None = None


@dataclass(frozen=True)
class Route:
    """One way from a float network to an answer; `label` is what tables print.

    `precision` is fp32, bf16 or int8; `engine` says whose kernels run.
    """

    name: str
    label: str
    engine: str
    build: Callable[[Source], Built]

    @property
    def precision(self) -> str:
        return self.name.partition(":")[0]


def inputs(
    shape: Sequence[int], *, generator: torch.Generator, vocabulary: int = 0
) -> Tensor:
    """Standard normal float32 of `shape`; int64 ids where there is a vocabulary."""
    if vocabulary:
        return torch.randint(vocabulary, tuple(shape), generator=generator)
    return torch.randn(*shape, generator=generator)


def package(name: str, part: str = "") -> ModuleType:
    """The module `name` (or `name`.`part`); ImportError that names the extra."""
    try:
        return importlib.import_module(f"{name}.{part}" if part else name)
    except ImportError as error:
        raise ImportError(
            f"{name} is not importable ({error}): install this package's extra "
            "`engines` (pip install 'qstudy[engines]')"
        ) from error


def threads() -> int:
    """Of torch, which every engine is given the same number as."""
    return torch.get_num_threads()
