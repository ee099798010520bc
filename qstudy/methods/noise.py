"""The error of a quantized network, kernel by kernel, from its input to its output.

Each kernel's result is compared with what the float network has there: once in the
simulated network, once in the converted one, each running on its own. So the error that
a kernel adds is seen on top of that which reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from qstudy.methods import legacy
from qstudy.methods.convert import QuantizedNetwork
from qstudy.methods.simulate.layers import SameScale
from qstudy.methods.simulate.ranges import in_float
from qstudy.numerics.error import sqnr


@dataclass(frozen=True)
class KernelNoise:
    """SQNR of one kernel's result in dB against the float network, in both forms."""

    name: str
    simulated: float
    converted: float


def kernel_noise(
    simulated: fx.GraphModule, converted: QuantizedNetwork, x: Tensor
) -> list[KernelNoise]:
    """Every kernel in calling order, on the float batch `x`.

    Raises ValueError where `converted` was not converted from a network like
    `simulated`.
    """
    paths = list(dict.fromkeys(converted.sources.values()))
    unknown = set(paths) - dict(simulated.named_modules()).keys()
    if unknown:
        raise ValueError(
            f"the simulated network has no quantizer {sorted(unknown)[0]!r}: compare a "
            "converted network with the one that it was converted from"
        )
    with torch.no_grad():
        with in_float(simulated):
            wanted = _outputs(simulated, paths, x)
        rounded = _outputs(simulated, paths, x)
        with legacy.engine(converted.engine):
            follow = _Follow(converted)
            follow.run(x)
    return [
        KernelNoise(
            name=_name(simulated, path),
            simulated=sqnr(wanted[path], rounded[path]),
            converted=sqnr(
                wanted[path], follow.results[path].reshape(wanted[path].shape)
            ),
        )
        for path in follow.results
    ]


def _outputs(
    simulated: fx.GraphModule, paths: list[str], x: Tensor
) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def watch(path: str) -> Any:
        def hook(module: Any, arguments: Any, y: Tensor) -> None:
            seen[path] = y.clone()

        return simulated.get_submodule(path).register_forward_hook(hook)

    hooks = [watch(path) for path in paths]
    try:
        simulated(x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


class _Follow(fx.Interpreter):
    """Runs a converted network and keeps each kernel's result as floats."""

    def __init__(self, converted: QuantizedNetwork) -> None:
        super().__init__(converted.network)
        self.sources = converted.sources
        self.results: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if (path := self.sources.get(n.name)) is not None:
            self.results[path] = result.dequantize()
        return result


def _name(simulated: fx.GraphModule, path: str) -> str:
    module = simulated.get_submodule(path)
    return path.split(".")[-1] if isinstance(module, SameScale) else module.name
