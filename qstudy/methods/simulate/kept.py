"""Layers that stay in fp32 inside a quantized network: partial quantization.

A kept layer computes in float with the weights it has. What is rounded around it is
what the integer form must round: the result of an integer kernel has codes whoever
reads it, so a kept layer behind one reads them back as floats; what a kept layer gives
is rounded only where an integer kernel reads it. The network's input counts as given by
a kept layer, and its output as read by one (Wu et al. 2020, section 5.1, leave whole
layers out in this way).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import fx, nn

from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.simulate.layers import RoundedLayer
from qstudy.methods.simulate.ranges import KEPT, layers, quantizers
from qstudy.methods.simulate.traced import kind_of


def keep_float(simulated: fx.GraphModule, names: Iterable[str]) -> None:
    """Switch rounding on everywhere, and off where the layers `names` are kept in fp32.

    In place, as often as one likes; () quantizes all. To be called before `calibrate`
    where a kept layer has no range to be calibrated. Raises ValueError for a name that
    is no layer's path.
    """
    names = tuple(names)
    found = layers(simulated)
    for name in names:
        if name not in found:
            raise ValueError(f"layer {name!r} is not one of {tuple(found)}")
    modules = dict(simulated.named_modules())
    off = {f"{name}.weight_quantizer" for name in names}
    for node in simulated.graph.nodes:
        if _is(node, modules, FakeQuantize):
            of_float, narrow = _producer(node, modules, names)
            readers = set(_readers(node, modules))
            if of_float:  # whoever takes the network's output takes floats
                readers -= {None}
            kept_reads = bool(names) and readers <= set(names)
            if (narrow or of_float) and kept_reads:
                off.add(node.target)
    for path, quantizer in quantizers(simulated).items():
        quantizer.quantize(path not in off)
    simulated.meta[KEPT] = {"layers": names, "quantizers": tuple(sorted(off))}


def kept_layers(simulated: fx.GraphModule) -> tuple[str, ...]:
    """The paths of the layers that stay in fp32."""
    return simulated.meta.get(KEPT, {}).get("layers", ())


def _producer(
    node: fx.Node, modules: dict[str, nn.Module], names: tuple[str, ...]
) -> tuple[bool, bool]:
    """(whether floats come in, whether they have been rounded once already)."""
    before = node.args[0]
    while kind_of(before, modules) in ("clamp", "pass", "max", "shape"):
        before = before.args[0]
    if before.op == "placeholder":
        return True, False
    if _is(before, modules, RoundedLayer, ConvBn2d):
        return before.target in names, False
    return False, _is(before, modules, FakeQuantize)


def _readers(node: fx.Node, modules: dict[str, nn.Module]) -> Iterator[str | None]:
    """Each kernel that reads `node`: a layer's path, "" for another, None at the end.

    A second rounding counts as whoever reads what it gives.
    """
    for user in node.users:
        if user.op == "output":
            yield None
        elif _is(user, modules, RoundedLayer, ConvBn2d):
            yield user.target
        elif _is(user, modules, FakeQuantize) or kind_of(user, modules) in (
            "pass",
            "max",
            "clamp",
        ):
            yield from _readers(user, modules)
        elif kind_of(user, modules) != "shape":
            yield ""


def _is(node: fx.Node, modules: dict[str, nn.Module], *kinds: type) -> bool:
    return node.op == "call_module" and isinstance(modules[node.target], kinds)
