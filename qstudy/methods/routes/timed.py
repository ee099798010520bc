"""What a timing worker times: one forward pass of a network along one route."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qstudy.methods.routes import changes, handover
from qstudy.methods.routes.route import Source, inputs
from qstudy.methods.routes.table import build

CALIBRATION = (2, 4)  # batches, examples in each


def source(
    told: Mapping[str, Any], *, shape: Sequence[int], folder: Path, vocabulary: int = 0
) -> Source:
    """The network that `told` hands over, with inputs of `shape` drawn from a seed.

    Standard normal, or ids below `vocabulary`, the same in every process; times do not
    depend on values.
    """
    how = {"generator": torch.Generator().manual_seed(0), "vocabulary": vocabulary}
    batches, examples = CALIBRATION
    calibration = tuple(inputs((examples, *shape[1:]), **how) for _ in range(batches))
    example = inputs(shape, **how)
    return Source(handover.take_over(told), example, calibration, folder, vocabulary)


def timed_forward(
    *,
    name: str,
    network: Mapping[str, Any],
    shape: Sequence[int],
    folder: str,
    batch: int,
    vocabulary: int = 0,
) -> Callable[[], Tensor]:
    """A call of route `name`; `network` as `handover.hand_over` tells it.

    `name` may have one of `changes` behind it; where that is an environment, the
    process has been started with it. `shape` is that of one example; `folder` and
    `vocabulary` as in Source. All routes of a process start from one network, which
    none of them changes.
    """
    told = json.dumps(network, sort_keys=True)
    made = _shared(told, (batch, *shape), folder, vocabulary)
    x = made.example
    with changes.compiling(name):
        forward = build(changes.parts(name)[0], made).forward
        forward(x)  # what is compiled is compiled now
    return lambda: forward(x)


@lru_cache(maxsize=1)
def _shared(told: str, shape: tuple[int, ...], folder: str, vocabulary: int) -> Source:
    return source(
        json.loads(told), shape=shape, folder=Path(folder), vocabulary=vocabulary
    )
