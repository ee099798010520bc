"""A network of int8 layers, called under the engine that they were made for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from qstudy.methods import legacy
from qstudy.methods.inputs import check_input


class UnderEngine(nn.Module):
    """A quantized network that runs under the engine its weights are packed for.

    It takes what the network takes. Floats must be float32, the only input that the
    kernels read, and the first input finite, for a range is made of it and NaN would
    get a code: ValueError otherwise. `check_finite` False trusts the caller, who times
    the kernels alone.
    """

    def __init__(self, network: nn.Module, *, engine: str) -> None:
        super().__init__()
        self.network = network
        self.engine = engine
        self.check_finite = True

    def forward(self, *args: Any, **options: Any) -> Any:
        for name, value in (*enumerate(args, start=1), *options.items()):
            # Masks hold infinities on purpose; a network's first input is data.
            check_input(value, name=name, finite=self.check_finite and name == 1)
        with legacy.engine(self.engine), _without_fast_path():
            return self.network(*args, **options)


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """torch's fused encoder layer reads float weights, which are codes now."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
