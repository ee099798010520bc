"""From a simulated network to the int8 kernels of one of torch's engines.

Every scale and zero point is that of the fake-quantizer that stood in its place, every
weight the codes that the network trained with, and batch normalization is a part of
them. The kernels are torch.ao's quantized modules (qstudy.methods.legacy), so the
result holds packed integers and no float convolution. It answers as the simulated
network does except where the engine rounds otherwise; qstudy.methods.agreement counts
that.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from qstudy.measure.system import check_engine
from qstudy.methods import legacy
from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.quantized_modules import (
    QuantizedAdd,
    QuantizedCat,
    quantize_module,
    quantized_layer,
    saturates,
)
from qstudy.methods.simulate.fixed import plain_layer
from qstudy.methods.simulate.kept import kept_layers
from qstudy.methods.simulate.layers import RoundedLayer, SameScale
from qstudy.methods.simulate.network import config_of
from qstudy.methods.simulate.ranges import kept_quantizers, quantizers
from qstudy.methods.simulate.traced import clamp_bounds, kind_of


class QuantizedNetwork(nn.Module):
    """A converted network that runs under the engine its weights are packed for.

    Float in and out, shapes as before; every call sets torch's engine and restores it
    (see legacy.engine). `network` is a graph of quantized modules at the paths that
    their layers had; `sources` has, by the name of its node, the path of the
    fake-quantizer that each result's scale was taken from.
    """

    def __init__(
        self, network: fx.GraphModule, *, engine: str, sources: Mapping[str, str]
    ) -> None:
        super().__init__()
        self.network = network
        self.engine = engine
        self.sources = dict(sources)

    def forward(self, *inputs: Tensor) -> Any:
        with legacy.engine(self.engine):
            return self.network(*inputs)


def convert(simulated: fx.GraphModule, *, engine: str) -> QuantizedNetwork:
    """The int8 form of `simulated` for `engine`, in eval mode; `simulated` is kept.

    A layer that keep_float left in fp32 is a float layer here, and reads codes back as
    floats. Raises ValueError for a network that simulate did not make, an engine this
    machine lacks, train mode, and by name for a quantizer without a range, one that is
    switched off or gone, or one of fewer than 8 bits, for which engines have no
    kernels; ImportError where torch no longer has the modules.
    """
    config_of(simulated)
    check_engine(engine)
    if simulated.training:
        raise ValueError(
            f"network {type(simulated).__name__} is in train mode: call eval() first, "
            "so that the statistics of its normalizations are the ones it has learned"
        )
    kept = kept_quantizers(simulated)
    for path, quantizer in quantizers(simulated).items():
        if path not in kept:
            _check(quantizer, engine)
    with legacy.engine(engine), legacy.announced_removal(), torch.no_grad():
        return _Converter(simulated, engine).convert()


@dataclass(frozen=True)
class _Kernel:
    """What becomes one quantized module: its nodes, clamp bounds and quantizer."""

    nodes: tuple[fx.Node, ...]
    bounds: tuple[float, float]
    quantizer: str


class _Converter:
    """Copies a simulated network's graph, kernel by kernel."""

    def __init__(self, simulated: fx.GraphModule, engine: str) -> None:
        self.engine, self.old = engine, simulated.graph
        self.modules = dict(simulated.named_modules())
        self.graph = fx.Graph()
        self.root: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.kept, self.off = kept_layers(simulated), kept_quantizers(simulated)
        self.floats: set[fx.Node] = set()  # of the new graph: what has no codes
        self.kernels = {kernel.nodes[0]: kernel for kernel in self._kernels()}
        self.values: dict[fx.Node, fx.Node] = {}

    def convert(self) -> QuantizedNetwork:
        for node in self.old.nodes:
            if node in self.values or (node.op == "placeholder" and not node.users):
                continue
            if node in self.kernels:
                kernel = self.kernels[node]
                self.values |= dict.fromkeys(kernel.nodes, self._kernel(kernel))
            elif node.op == "output":
                self.graph.output(fx.node.map_arg(node.args[0], self._real))
            else:
                self.values[node] = self._other(node)
        network = fx.GraphModule(self.root, self.graph, class_name="Quantized").eval()
        made = QuantizedNetwork(network, engine=self.engine, sources=self.sources)
        return made.eval()

    def _kernels(self) -> list[_Kernel]:
        found = []
        for node in self.old.nodes:
            module = self._module(node)
            if not isinstance(module, FakeQuantize) or node.target in self.off:
                continue
            nodes, bounds = [node, node.args[0]], (-math.inf, math.inf)
            if kind_of(nodes[-1], self.modules) == "clamp":
                bounds = clamp_bounds(nodes[-1], self.modules)
                nodes.append(nodes[-1].args[0])
            if nodes[-1].target in self.kept:  # floats, which are only rounded here
                nodes, bounds = [node], (-math.inf, math.inf)
            found.append(_Kernel(tuple(reversed(nodes)), bounds, node.target))
        return found

    def _kernel(self, kernel: _Kernel) -> fx.Node:
        first = kernel.nodes[0]
        qparams = self.modules[kernel.quantizer].qparams()
        relu = kernel.bounds[0] == 0
        arguments = [self.values[node] for node in first.all_input_nodes]
        if first.op == "placeholder":
            arguments = [self.graph.placeholder(first.target)]
            path, module = f"quantize_{first.name}", quantize_module(qparams)
        elif isinstance(self._module(first), FakeQuantize):
            path, module = f"quantize_{first.args[0].name}", quantize_module(qparams)
        elif isinstance(layer := self._module(first), RoundedLayer | ConvBn2d):
            path, module = first.target, quantized_layer(layer, qparams, relu=relu)
        else:
            path = first.target if first.op == "call_module" else first.name
            if kind_of(first, self.modules) == "add":
                module = QuantizedAdd(qparams, relu=relu)
            else:
                dim = (*first.args[1:], first.kwargs.get("dim", 0))[0]
                module = QuantizedCat(qparams, dim=dim)
        self.root[path] = module
        made = self.graph.call_module(path, tuple(arguments))
        if not saturates(qparams, kernel.bounds):
            low, high = (None if math.isinf(end) else end for end in kernel.bounds)
            if self.engine == "qnnpack":
                # Its clamp shuffles the values of a channels-last tensor (torch 2.13).
                made = self.graph.call_method("contiguous", (made,))
            made = self.graph.call_function(torch.clamp, (made, low, high))
        self.sources[made.name] = kernel.quantizer
        return made

    def _other(self, node: fx.Node) -> fx.Node:
        """What moves codes, or averages them at their own scale; what stays float."""
        module = self._module(node)
        if node.op == "placeholder" and all(u.target in self.off for u in node.users):
            made = self.graph.placeholder(node.target)
            self.floats.add(made)
            return made
        if isinstance(module, FakeQuantize) and node.target in self.off:
            return self.values[node.args[0]]
        if node.op == "call_module" and node.target in self.kept:
            x = self.values[node.args[0]]
            if x not in self.floats:
                x = self.graph.call_method("dequantize", (x,))
            self.root[node.target] = plain_layer(module)
            made = self.graph.call_module(node.target, (x,))
            self.floats.add(made)
            return made
        if isinstance(module, SameScale):
            self.sources[self.values[node.args[0]].name] = node.target
            return self.values[node.args[0]]
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            return self.values[node.args[0]]
        kind = kind_of(node, self.modules)
        if kind not in ("pass", "max", "average", "shape", "clamp"):
            raise ValueError(
                f"no fake-quantizer stands behind {node.name!r}: convert what simulate "
                "returned, as it was"
            )
        if node.op == "call_module":
            self.root[node.target] = copy.deepcopy(module)
        made = self.graph.node_copy(node, lambda old: self.values[old])
        if self.values[node.args[0]] in self.floats:
            self.floats.add(made)
        return made

    def _real(self, node: fx.Node) -> fx.Node:
        if self.values[node] in self.floats:
            return self.values[node]
        return self.graph.call_method("dequantize", (self.values[node],))

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.modules[node.target] if node.op == "call_module" else None


def _check(quantizer: FakeQuantize, engine: str) -> None:
    described = quantizer.config
    if described.bits != 8:
        raise ValueError(
            f"fake-quantizer {quantizer.name!r} has {described.bits} bits and engine "
            f"{engine!r} has kernels for 8 only: the network stays simulated, or is "
            "simulated with 8 bits everywhere"
        )
    if not bool(quantizer.quantizing):
        raise ValueError(
            f"fake-quantizer {quantizer.name!r} is switched off: call quantize(True), "
            "and see what the network then answers"
        )
    quantizer.qparams()  # refuses what has no range
