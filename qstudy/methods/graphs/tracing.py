"""The graph of a network as it is computed: operations, and the type on every edge.

`trace` follows a module with torch.fx down to its operations and the weights that they
read, runs the graph once on an example, and notes the dtype of each tensor that passed.
So a graph says what a network holds and not what it should hold: a layer that was left
in float has float32 on its edges. Nothing in it depends on the values of the example.

Bits are those of the dtype. A tensor that a fake-quantizer gave is a float32 with the
values of a narrower code: `grid` has the bits of that. torch's quantized layers hide
their sums (int32) inside the kernel, and their packed weights are asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn

from qstudy.methods import legacy
from qstudy.methods.convert import QuantizedNetwork
from qstudy.methods.dynamic.under_engine import UnderEngine
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.graphs.graph import Edge, Graph, Node
from qstudy.methods.inputs import check_input
from qstudy.methods.integer import narrow
from qstudy.methods.quantized_modules import QuantizedAdd, QuantizedCat
from qstudy.methods.simulate.layers import SameScale
from qstudy.methods.static import AddReLU, QuantizedResNet
from qstudy.models.resnet import Add

# Modules of ours that are one operation; torch's own are, but for the first two below.
_WHOLE = (FakeQuantize, SameScale, QuantizedAdd, QuantizedCat, AddReLU, Add)
_OPENED = (nn.Conv2d, nn.Linear)  # their weights are edges
# Functions that are one operation, and a check that gives nothing.
_STEPS = (
    *(narrow.conv2d_sums, narrow.linear_sums),
    *(narrow.add_bias, narrow.multiply, narrow.clamp_to_codes, check_input),
)
# How an operation is called, by the name of its type or function.
_TOLD = {
    "AdaptiveAvgPool2d": "average pool",
    "Add": "add",
    "AddReLU": "add + relu",
    "BatchNorm2d": "batch norm",
    "Conv2d": "conv2d",
    "ConvReLU2d": "conv2d + relu",
    "DeQuantize": "dequantize",
    "FakeQuantize": "fake quantize",
    "Flatten": "flatten",
    "Linear": "linear",
    "LinearReLU": "linear + relu",
    "Quantize": "quantize",
    "QuantizedAdd": "add",
    "QuantizedCat": "concat",
    "ReLU": "relu",
    "SameScale": "fake quantize",
    "add_bias": "+ bias",
    "clamp_to_codes": "+ zero point, clamp",
    "conv2d_sums": "conv2d",
    "linear_sums": "linear",
    "multiply": "× multiplier",
}


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True

    def __init__(self) -> None:
        super().__init__(autowrap_functions=_STEPS)

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        if type(module) in _OPENED:
            return False
        return isinstance(module, _WHOLE) or super().is_leaf_module(module, path)


class _Run(fx.Interpreter):
    """Runs a graph and keeps what every node gave."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.seen[n] = super().run_node(n)
        return self.seen[n]


def trace(model: nn.Module, *inputs: Tensor) -> Graph:
    """The graph of `model`, in the mode that it is in, run once on `inputs`.

    `model` is a float network, a simulated one, what qstudy.methods.dynamic, static or
    convert made, or a NarrowLayer; it is left as it is. Raises ValueError where a node
    gives anything but a tensor.
    """
    traceable, engine = _inside(model)
    if traceable.training:  # statistics and ranges would follow the example
        traceable = copy.deepcopy(traceable)
    graph = _Tracer().trace(traceable)
    modules = dict(traceable.named_modules())
    for node in reversed(graph.nodes):
        if node.op == "call_module" and type(modules[node.target]) is nn.Identity:
            node.replace_all_uses_with(node.args[0])
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    run = _Run(fx.GraphModule(traceable, graph))
    with engine, legacy.announced_removal(), torch.no_grad():
        run.run(*inputs)
        return _Builder(graph, modules, run.seen).build()


def _inside(model: nn.Module) -> tuple[nn.Module, AbstractContextManager[None]]:
    """What to trace of `model`, and the engine that it runs under."""
    if isinstance(model, QuantizedResNet):
        return model, legacy.engine(model.engine)
    if isinstance(model, UnderEngine | QuantizedNetwork):
        return model.network, legacy.engine(model.engine)
    return model, nullcontext()


class _Builder:
    """Turns a graph of torch.fx and the values of its run into a Graph."""

    def __init__(
        self, graph: fx.Graph, modules: dict[str, nn.Module], seen: dict[fx.Node, Any]
    ) -> None:
        self.graph, self.modules, self.seen = graph, modules, seen
        self.grids: dict[fx.Node, int] = {}

    def build(self) -> Graph:
        nodes, edges = [], []
        for node in self.graph.nodes:
            if not isinstance(self.seen[node], Tensor):
                said = type(self.seen[node]).__name__
                raise ValueError(
                    f"node {node.name!r} gives {said}: only tensors are drawn"
                )
            self.grids[node] = self._grid(node)
            edges += [
                _edge(arg.name, node.name, self.seen[arg], self.grids[arg])
                for arg in node.all_input_nodes
            ]
            for name, tensor in self._packed(node):
                own = f"{node.name}_{name}"
                nodes.append(Node(own, "parameter", name))
                edges.append(_edge(own, node.name, tensor, 0))
            nodes.append(Node(node.name, *self._told(node)))
        return Graph(tuple(nodes), tuple(edges))

    def _told(self, node: fx.Node) -> tuple[str, str]:
        """Kind and operation of a node."""
        if node.op == "placeholder":
            return "input", "input"
        if node.op == "output":
            return "output", "output"
        if node.op == "get_attr":
            return "parameter", node.target.rpartition(".")[2]
        if node.op != "call_module":
            name = getattr(node.target, "__name__", node.target)
            told = _TOLD.get(name, name)
            ends = [node.kwargs.get(end) for end in ("least", "zero_point")]
            if node.target is narrow.clamp_to_codes and ends[0] == ends[1]:
                told = told.replace("clamp", "relu and clamp")
            return "operation", told
        module = self.modules[node.target]
        told = _TOLD.get(type(module).__name__, type(module).__name__)
        if isinstance(module, QuantizedAdd) and module.relu:
            told = "add + relu"
        if ".quantized.dynamic" in type(module).__module__:
            told = f"dynamic {told}"
        return "operation", told

    def _packed(self, node: fx.Node) -> Iterator[tuple[str, Tensor]]:
        """Weight and bias of a layer that keeps them packed."""
        module = self.modules.get(node.target) if node.op == "call_module" else None
        if "quantized" not in type(module).__module__:
            return
        for name in ("weight", "bias"):
            unpack = getattr(module, name, None)
            tensor = unpack() if callable(unpack) else None
            if tensor is not None:
                yield name, tensor

    def _grid(self, node: fx.Node) -> int:
        module = self.modules.get(node.target) if node.op == "call_module" else None
        if isinstance(module, SameScale):
            module = module.source
        if isinstance(module, FakeQuantize):
            return module.config.bits if bool(module.quantizing) else 0
        if node.op in ("call_module", "call_method", "call_function"):
            # A view has the values of what it views.
            for arg in node.all_input_nodes:
                if _is_view(self.seen[node], self.seen[arg]):
                    return self.grids[arg]
        return 0


def _is_view(tensor: Tensor, of: Tensor) -> bool:
    return tensor.untyped_storage().data_ptr() == of.untyped_storage().data_ptr()


def _edge(source: str, target: str, tensor: Tensor, grid: int) -> Edge:
    dtype = tensor.dtype
    told = str(dtype).removeprefix("torch.")
    return Edge(source, target, told, 8 * dtype.itemsize, grid)
