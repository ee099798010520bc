"""Where a simulated network and its converted form give other codes, and why.

Both compute the same codes from the same scales; what differs is how each gets to the
real value before it is rounded. Two counts tell the causes apart. `free`: both networks
run on their own, so a difference is carried on and grows. `alone`: each kernel of the
converted network is given the codes of the simulated one, so what differs arose in it.
How far from a tie the simulated value then was says of what size the cause is:

| cause | distance from a tie, in steps |
|---|---|
| the order of float32 operations in sums and requantization | about 1e-5 |
| a bias rounded to int32 (QNNPACK) | up to s_x s_w / (2 s_y) |
| a multiplier of few bits (QNNPACK's addition) | about 1e-4 |
| the zero point added before a tie is rounded | 0 |
| sums that saturate at 16 bits (processors without VNNI) | any |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from qstudy.methods import legacy
from qstudy.methods.convert import QuantizedNetwork
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.simulate.layers import SameScale
from qstudy.numerics.mapping import QParams


@dataclass(frozen=True)
class KernelAgreement:
    """The codes of one kernel's result, `values` of them.

    `free` and `alone` count the values that are off by each number of codes (never 0);
    `from_tie` is the largest distance from a tie, in steps from 0 to 0.5, that a value
    of `alone` had; None where there is none.
    """

    name: str
    values: int
    free: dict[int, int]
    alone: dict[int, int]
    from_tie: float | None

    @property
    def share(self) -> float:
        """The share of values that differ where both networks run on their own."""
        return sum(self.free.values()) / self.values


@dataclass(frozen=True)
class Agreement:
    """Every kernel in calling order, and what it comes to for the predictions."""

    kernels: tuple[KernelAgreement, ...]
    examples: int
    predictions: int = field(metadata={"unit": "examples whose prediction differs"})

    @property
    def first(self) -> KernelAgreement | None:
        """Where the disagreement begins; None where there is none."""
        return next((kernel for kernel in self.kernels if kernel.free), None)


def agreement(
    simulated: fx.GraphModule, converted: QuantizedNetwork, x: Tensor
) -> Agreement:
    """Both networks on the float batch `x`, compared code by code.

    The prediction of an example is its largest logit, (B, classes). Raises ValueError
    where `converted` was not converted from a network like `simulated`.
    """
    if simulated.training:
        raise ValueError("the simulated network is in train mode: call eval() first")
    unknown = set(converted.sources.values()) - dict(simulated.named_modules()).keys()
    if unknown:
        raise ValueError(
            f"the simulated network has no quantizer {sorted(unknown)[0]!r}: compare a "
            "converted network with the one that it was converted from"
        )
    with torch.no_grad():
        shown, wanted = _simulated(simulated, set(converted.sources.values()), x)
        with legacy.engine(converted.engine):
            free = _Follow(converted, shown, forced=False)
            found = free.run(x)
            alone = _Follow(converted, shown, forced=True)
            alone.run(x)
    kernels = tuple(
        KernelAgreement(
            name=_name(simulated, path),
            values=shown[path].codes.numel(),
            free=free.counts[path],
            alone=alone.counts[path],
            from_tie=alone.from_tie[path],
        )
        for path in free.counts
    )
    differ = int((wanted.argmax(-1) != found.argmax(-1)).sum())
    return Agreement(kernels, len(x), differ)


@dataclass(frozen=True, eq=False)
class _Shown:
    """What a quantizer was shown, in steps before rounding, and the codes it gave."""

    steps: Tensor
    codes: Tensor
    qparams: QParams


def _simulated(
    simulated: fx.GraphModule, paths: set[str], x: Tensor
) -> tuple[dict[str, _Shown], Tensor]:
    shown: dict[str, _Shown] = {}
    hooks = []
    for path in paths:
        module = simulated.get_submodule(path)
        quantizer = module.source if isinstance(module, SameScale) else module

        def look(
            module: nn.Module,
            arguments: tuple[Tensor],
            y: Tensor,
            path: str = path,
            quantizer: FakeQuantize = quantizer,
        ) -> None:
            q = quantizer.qparams()
            codes = torch.round(y.double() / q.scale.double()) + q.zero_point
            steps = arguments[0].double() / q.scale.double()
            shown[path] = _Shown(steps, codes.to(torch.int32), q)

        hooks.append(module.register_forward_hook(look))
    try:
        logits = simulated(x)
    finally:
        for hook in hooks:
            hook.remove()
    return shown, logits


class _Follow(fx.Interpreter):
    """Runs a converted network and compares each kernel's codes as they come.

    `forced`: what a kernel gives is replaced by the simulated codes before the next.
    """

    def __init__(
        self, converted: QuantizedNetwork, shown: dict[str, _Shown], *, forced: bool
    ) -> None:
        super().__init__(converted.network)
        self.sources, self.shown, self.forced = converted.sources, shown, forced
        self.counts: dict[str, dict[int, int]] = {}
        self.from_tie: dict[str, float | None] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        path = self.sources.get(n.name)
        if path is None:
            return result
        shown = self.shown[path]
        # A network may flatten before its quantizer what this one flattens behind it.
        codes = shown.codes.reshape(result.shape)
        off = (result.int_repr().to(torch.int32) - codes).flatten()
        values, counts = off[off != 0].unique(return_counts=True)
        counted = Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.counts[path] = dict(sorted(counted.items()))
        steps = shown.steps.flatten()[off != 0]
        distance = (steps - torch.floor(steps) - 0.5).abs()
        self.from_tie[path] = distance.max().item() if len(distance) else None
        if not self.forced:
            return result
        return torch._make_per_tensor_quantized_tensor(
            codes.to(torch.uint8).contiguous(),
            shown.qparams.scale.item(),
            int(shown.qparams.zero_point),
        )


def _name(simulated: fx.GraphModule, path: str) -> str:
    module = simulated.get_submodule(path)
    return path.split(".")[-1] if isinstance(module, SameScale) else module.name
