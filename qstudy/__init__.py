"""A reproducible study of neural-network quantization with PyTorch on a CPU.

Chapters use `chapter`, `load` gives a trained network, and `bench` times one of your
own along every route; everything else is reached through its room (qstudy.numerics,
qstudy.methods, qstudy.measure, ...). Importing this package imports neither torch nor
pandas, because every timing worker imports it too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qstudy.study.bench import Report
    from qstudy.study.chapter import Chapter

__all__ = ["bench", "chapter", "load"]
__version__ = "0.1.0"


def chapter(name: str, namespace: Mapping[str, Any] | None = None) -> Chapter:
    """Open chapter `name` with its notebook's globals(); see qstudy.study.chapter."""
    from qstudy.study.chapter import chapter as open_chapter

    return open_chapter(name, namespace)


def load(
    model: str, *, seed: int = 0, stage: str = "", results: str | os.PathLike = ""
) -> nn.Module:
    """The trained fp32 network `model`, checked; see qstudy.study.networks."""
    from qstudy.study.networks import load as load_network

    return load_network(model, seed=seed, stage=stage, results=results)


def bench(model: nn.Module | str, example: Tensor, **options: Any) -> Report:
    """Time `model` along every route from fp32 to int8; see qstudy.study.bench."""
    from qstudy.study.bench import bench as run_bench

    return run_bench(model, example, **options)
