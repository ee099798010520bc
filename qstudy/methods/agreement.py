"""Where a simulated network and its converted form give other codes, and why.

Both compute the same codes from the same scales; what differs is how each gets to the
real value before it is rounded. Two counts tell the causes apart. `free`: both networks
run on their own, so a difference is carried on and grows. `alone`: each kernel of the
converted network is given the codes of the simulated one, so what differs arose in it.
What that tells of the cause: qstudy.methods.causes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from qstudy.methods import causes, legacy
from qstudy.methods.convert import QuantizedNetwork
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.integer.simulated import IntegerNetwork
from qstudy.methods.integer.wide import WideNetwork
from qstudy.methods.simulate.layers import RoundedLayer, SameScale
from qstudy.methods.simulate.ranges import layers
from qstudy.numerics.mapping import QParams, quantize

Converted = QuantizedNetwork | IntegerNetwork | WideNetwork


@dataclass(frozen=True)
class KernelAgreement:
    """The codes of one kernel's result, `values` of them.

    `free` and `alone` count the values that are off by each number of codes (never 0);
    `computed` and `clipped` as in causes.cause. `from_tie` is the largest distance from
    a tie, in steps from 0 to 0.5, of a value of `alone`; None where there is none.
    """

    name: str
    values: int
    free: dict[int, int]
    alone: dict[int, int]
    from_tie: float | None
    computed: str = "layer"
    clipped: int = 0

    @property
    def share(self) -> float:
        """The share of values that differ where both networks run on their own."""
        return sum(self.free.values()) / self.values

    def cause(self, *, rounds_bias: bool) -> str | None:
        """Why the two differ here, by causes.cause; None where they do not."""
        if not self.free and not self.alone:
            return None
        return causes.cause(
            self.computed,
            from_tie=self.from_tie,
            clipped=self.clipped,
            rounds_bias=rounds_bias,
        )


@dataclass(frozen=True)
class Agreement:
    """Every kernel in calling order, and what it comes to for the predictions."""

    kernels: tuple[KernelAgreement, ...]
    examples: int
    predictions: int = field(metadata={"unit": "examples whose prediction differs"})
    logits: float = field(
        default=0.0,
        metadata={"unit": "largest difference of a logit, kernels on simulated codes"},
    )

    @property
    def first(self) -> KernelAgreement | None:
        """Where the disagreement begins; None where there is none."""
        return next((kernel for kernel in self.kernels if kernel.free), None)


def rounds_bias(converted: Converted) -> bool:
    """Whether `converted` makes integers of biases and multipliers (QNNPACK does)."""
    if isinstance(converted, QuantizedNetwork):
        return converted.engine == "qnnpack"
    return isinstance(converted, IntegerNetwork) and (
        converted.arithmetic == "fixed_point"
    )


def agreement(simulated: fx.GraphModule, converted: Converted, x: Tensor) -> Agreement:
    """Both networks on the float batch `x`, compared code by code.

    The prediction of an example is its largest logit, (B, classes). Raises ValueError
    where `converted` was not converted from a network like `simulated`.
    """
    if simulated.training:
        raise ValueError("the simulated network is in train mode: call eval() first")
    sources = converted.sources
    paths = set(sources.values() if isinstance(sources, dict) else sources)
    unknown = paths - dict(simulated.named_modules()).keys()
    if unknown:
        raise ValueError(
            f"the simulated network has no quantizer {sorted(unknown)[0]!r}: compare a "
            "converted network with the one that it was converted from"
        )
    with torch.no_grad():
        shown, wanted = _simulated(simulated, paths, x)
        free, alone = _Counts(shown), _Counts(shown)
        found = _follow(converted, x, free, forced=False)
        forced = _follow(converted, x, alone, forced=True)
    kernels = tuple(
        KernelAgreement(
            name=_name(simulated, path),
            values=shown[path].codes.numel(),
            free=free.off[path],
            alone=alone.off[path],
            from_tie=alone.from_tie[path],
            **_computed(simulated, path),
        )
        for path in free.off
    )
    differ = int((wanted.argmax(-1) != found.argmax(-1)).sum())
    apart = (forced.double() - wanted.double()).abs().max().item()
    return Agreement(kernels, len(x), differ, apart)


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


class _Counts:
    """How many codes of each quantizer are off, by how many, and how far from a tie."""

    def __init__(self, shown: dict[str, _Shown]) -> None:
        self.shown = shown
        self.off: dict[str, dict[int, int]] = {}
        self.from_tie: dict[str, float | None] = {}

    def compare(self, path: str, codes: Tensor) -> Tensor:
        """Count the int32 `codes` found at `path`; those simulated, in their shape."""
        shown = self.shown[path]
        # A network may flatten before its quantizer what this one flattens behind it.
        wanted = shown.codes.reshape(codes.shape)
        off = (codes - wanted).flatten()
        values, counts = off[off != 0].unique(return_counts=True)
        counted = Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.off[path] = dict(sorted(counted.items()))
        steps = shown.steps.flatten()[off != 0]
        distance = (steps - torch.floor(steps) - 0.5).abs()
        self.from_tie[path] = distance.max().item() if len(distance) else None
        return wanted


def _follow(converted: Converted, x: Tensor, counts: _Counts, *, forced: bool) -> Any:
    """The logits of `converted`, its codes compared as they come.

    `forced`: what a kernel gives is replaced by the simulated codes before the next.
    """
    if not isinstance(converted, QuantizedNetwork):

        def look(path: str, codes: Tensor) -> Tensor:
            wanted = counts.compare(path, codes)
            return wanted if forced else codes

        return converted.run(x, look)
    with legacy.engine(converted.engine):
        return _Follow(converted, counts, forced=forced).run(x)


class _Follow(fx.Interpreter):
    """Runs an engine's network and compares each kernel's codes as they come."""

    def __init__(
        self, converted: QuantizedNetwork, counts: _Counts, *, forced: bool
    ) -> None:
        super().__init__(converted.network)
        self.sources, self.counts, self.forced = converted.sources, counts, forced

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        path = self.sources.get(n.name)
        if path is None:
            return result
        wanted = self.counts.compare(path, result.int_repr().to(torch.int32))
        if not self.forced:
            return result
        qparams = self.counts.shown[path].qparams
        return torch._make_per_tensor_quantized_tensor(
            wanted.to(torch.uint8).contiguous(),
            qparams.scale.item(),
            int(qparams.zero_point),
        )


def _computed(simulated: fx.GraphModule, path: str) -> dict[str, Any]:
    """What gives the codes at `path`, and how many of its weights lose their code."""
    module = simulated.get_submodule(path)
    if isinstance(module, SameScale):
        return {"computed": "average"}
    layer = layers(simulated).get(module.name.removesuffix(".output"))
    if layer is None or not module.name.endswith(".output"):
        return {"computed": "other"}
    if isinstance(layer, RoundedLayer) or layer.strategy != "none":
        return {"computed": "layer"}
    lost = quantize(
        layer.conv.weight.detach().float(), layer.weight_quantizer.qparams()
    )
    negated = (layer.bn.weight.detach() < 0).reshape(-1, 1, 1, 1)
    return {"computed": "layer", "clipped": int(((lost == -128) & negated).sum())}


def _name(simulated: fx.GraphModule, path: str) -> str:
    module = simulated.get_submodule(path)
    return path.split(".")[-1] if isinstance(module, SameScale) else module.name
