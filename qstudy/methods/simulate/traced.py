"""A network as a graph of the operations that integer engines have.

`trace` reads any nn.Module whose operations are convolution, linear, batch
normalization after a convolution, ReLU and other clamps, addition, concatenation,
pooling, flattening, dropout and identity, as modules or as functions, and refuses every
other by name. What one integer kernel computes is one `Group`: a layer with its
normalization and clamp, or an addition with its clamp; pooling and concatenation are
groups of their own. Operations that only move codes belong to none.
"""

from __future__ import annotations

import copy
import math
import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from qstudy.models.resnet import Add

# "pass" and "max" give codes of their input; "shape" gives no tensor.
_MODULES: Mapping[type, str] = {
    nn.Conv2d: "conv",
    nn.Linear: "linear",
    nn.BatchNorm2d: "bn",
    nn.ReLU: "clamp",
    nn.ReLU6: "clamp",
    nn.Hardtanh: "clamp",
    Add: "add",
    nn.AvgPool2d: "average",
    nn.AdaptiveAvgPool2d: "average",
    nn.MaxPool2d: "max",
    nn.AdaptiveMaxPool2d: "max",
    nn.Flatten: "pass",
    nn.Identity: "pass",
    nn.Dropout: "pass",
    nn.Dropout2d: "pass",
}
_FUNCTIONS: Mapping[Any, str] = {
    F.relu: "clamp",
    F.relu_: "clamp",
    F.relu6: "clamp",
    F.hardtanh: "clamp",
    torch.relu: "clamp",
    torch.relu_: "clamp",
    torch.clamp: "clamp",
    torch.clip: "clamp",
    operator.add: "add",
    operator.iadd: "add",
    torch.add: "add",
    torch.cat: "cat",
    torch.concat: "cat",
    F.avg_pool2d: "average",
    F.adaptive_avg_pool2d: "average",
    torch.mean: "average",
    F.max_pool2d: "max",
    torch.max_pool2d: "max",
    F.adaptive_max_pool2d: "max",
    torch.flatten: "pass",
    F.dropout: "pass",
    getattr: "shape",
    operator.getitem: "shape",
}
_METHODS: Mapping[str, str] = {
    "relu": "clamp",
    "relu_": "clamp",
    "clamp": "clamp",
    "clip": "clamp",
    "add": "add",
    "add_": "add",
    "mean": "average",
    "flatten": "pass",
    "view": "pass",
    "reshape": "pass",
    "contiguous": "pass",
    "size": "shape",
}
LAYERS = ("conv", "linear")
GROUPS = ("input", *LAYERS, "add", "cat", "average")


@dataclass(frozen=True, eq=False)
class Group:
    """Nodes that one integer kernel computes, from `first` to `last`.

    `kind` is one of GROUPS. `bounds` are those of the
    clamp, infinite where there is none; `bn` the normalization's node.
    """

    kind: str
    first: fx.Node
    last: fx.Node
    bn: fx.Node | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def name(self) -> str:
        """The path of the module, or the name of the function's node."""
        return str(self.first.target if self.is_module else self.first.name)

    @property
    def is_module(self) -> bool:
        return self.first.op == "call_module"


@dataclass(frozen=True, eq=False)
class Traced:
    """A copy of a network, its graph, the kind of every node, and the groups."""

    root: nn.Module
    graph: fx.Graph
    kinds: Mapping[fx.Node, str]
    groups: tuple[Group, ...]

    def origin(self, node: fx.Node) -> Group:
        """The group whose codes `node` has, moved or not."""
        by_last = {group.last: group for group in self.groups}
        while node not in by_last:
            node = node.args[0]
        return by_last[node]

    def readers(self, group: Group) -> list[tuple[Group | None, fx.Node]]:
        """Each group that reads the codes of `group`, and the node it reads them from.

        None stands for whoever takes the network's output.
        """
        by_node = {g.first: g for g in self.groups}
        found: list[tuple[Group | None, fx.Node]] = []
        ahead = [group.last]
        while ahead:
            node = ahead.pop(0)
            for user in node.users:
                if self.kinds[user] == "output":
                    found.append((None, node))
                elif user in by_node:
                    found.append((by_node[user], node))
                elif self.kinds[user] != "shape":
                    ahead.append(user)
        return found

    def never_negative(self, node: fx.Node) -> bool:
        """Whether the values of `node` are 0 or above, whatever the input."""
        kind = self.kinds[node]
        if kind == "clamp":
            modules = dict(self.root.named_modules())
            return clamp_bounds(node, modules)[0] >= 0
        if kind in ("pass", "max", "average"):
            return self.never_negative(node.args[0])
        if kind in ("add", "cat"):
            return all(self.never_negative(n) for n in node.all_input_nodes)
        return False


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        ours = type(module).__module__.startswith("qstudy.methods")
        return isinstance(module, Add) or ours or super().is_leaf_module(module, path)


def trace(model: nn.Module) -> Traced:
    """The graph of a copy of `model`; ValueError, one line, for what does not fit it.

    That is: an operation not listed above, a module with weights or statistics that is
    called twice, a normalization that does not follow a convolution of its own, and
    control flow that depends on data.
    """
    root = copy.deepcopy(model)
    try:
        graph = _Tracer().trace(root)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"network {type(model).__name__} cannot be traced ({line}): its forward "
            "must run the same operations whatever the data"
        ) from error
    modules = dict(root.named_modules())
    # Without Identity and what nobody reads, chains are what they seem.
    for node in reversed(graph.nodes):
        identity = (
            node.op == "call_module" and type(modules[node.target]) is nn.Identity
        )
        if identity:
            node.replace_all_uses_with(node.args[0])
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    _refuse_reuse(graph, modules)
    kinds = {node: _kind(node, modules) for node in graph.nodes}
    for node in graph.nodes:
        _leave_inputs_alone(node, modules)
    groups = _groups(graph, kinds, modules)
    return Traced(root, graph, kinds, groups)


def _refuse_reuse(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> None:
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for path, count in calls.items():
        # What has no state (a ReLU) computes the same wherever it is called.
        if count > 1 and modules[path].state_dict():
            raise ValueError(
                f"module {path!r} ({type(modules[path]).__name__}) is called {count} "
                "times and can have one scale only: give each call a module of its own"
            )


def _kind(node: fx.Node, modules: Mapping[str, nn.Module]) -> str:
    kind, called = kind_of(node, modules), str(node.target)
    where = f"node {node.name!r}"
    if node.op == "call_module":
        where, called = f"module {called!r}", type(modules[called]).__name__
    elif node.op == "get_attr":
        where, called = f"attribute {called!r}", "use of a tensor"
    elif node.op == "call_function":
        called = getattr(node.target, "__name__", called)
    if kind is not None and not _as_known(node, kind, modules):
        kind, called = None, f"{called} with these arguments"
    if kind is None:
        raise ValueError(
            f"{where} is a {called}, which has no quantized form here: known are conv, "
            "linear, bn, relu and other clamps, add, concat, pool, flatten, dropout, "
            "identity"
        )
    return kind


def kind_of(node: fx.Node, modules: Mapping[str, nn.Module]) -> str | None:
    """The kind of operation that `node` names; None for one not known here."""
    if node.op == "call_module":
        return _MODULES.get(type(modules[node.target]))
    if node.op == "call_function":
        return _FUNCTIONS.get(node.target)
    if node.op == "call_method":
        return _METHODS.get(node.target)
    return {"placeholder": "input", "output": "output"}.get(node.op)


def _as_known(node: fx.Node, kind: str, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the arguments are those of the operation that `kind` stands for."""
    if kind == "add":
        tensors = [arg for arg in node.args if isinstance(arg, fx.Node)]
        return len(tensors) == len(node.args) == 2 and not node.kwargs
    if kind == "clamp":
        return clamp_bounds(node, modules) is not None
    if kind == "average" and node.target in (torch.mean, "mean"):
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        return isinstance(dims, tuple | list) and sorted(d % 4 for d in dims) == [2, 3]
    if node.target is F.dropout:  # whether it drops is fixed once traced
        return node.kwargs.get("training", True) is False
    if kind == "shape":
        return node.target in ("size", operator.getitem) or node.args[1] == "shape"
    return True


def clamp_bounds(
    node: fx.Node, modules: Mapping[str, nn.Module]
) -> tuple[float, float] | None:
    """(lowest, highest) value that the clamp `node` gives; None if they are none."""
    if node.op == "call_module":
        module = modules[node.target]
        if isinstance(module, nn.Hardtanh):  # ReLU6 among them
            return float(module.min_val), float(module.max_val)
        return 0.0, math.inf
    name = node.target if node.op == "call_method" else node.target.__name__
    if name.startswith("relu6"):
        return 0.0, 6.0
    if name.startswith("relu"):
        return 0.0, math.inf
    low, high = ("min_val", "max_val") if name == "hardtanh" else ("min", "max")
    default = (-1.0, 1.0) if name == "hardtanh" else (None, None)
    given = [*node.args[1:3], *[None] * 2][:2]
    bounds = []
    for place, key in enumerate((low, high)):
        value = given[place] if given[place] is not None else node.kwargs.get(key)
        value = default[place] if value is None else value
        if value is None:
            value = (-math.inf, math.inf)[place]
        if not isinstance(value, int | float):
            return None
        bounds.append(float(value))
    return bounds[0], bounds[1]


def _leave_inputs_alone(node: fx.Node, modules: Mapping[str, nn.Module]) -> None:
    """No operation may write into a tensor that a quantizer has given."""
    if node.op == "call_module" and hasattr(modules[node.target], "inplace"):
        modules[node.target].inplace = False
    if "inplace" in node.kwargs:
        node.update_kwarg("inplace", False)
    safe = {F.relu_: F.relu, torch.relu_: torch.relu, operator.iadd: operator.add}
    if node.op == "call_function":
        node.target = safe.get(node.target, node.target)
    elif node.op == "call_method":
        node.target = node.target.removesuffix("_")


def _groups(
    graph: fx.Graph, kinds: Mapping[fx.Node, str], modules: Mapping[str, nn.Module]
) -> tuple[Group, ...]:
    groups, taken = [], set()

    def only_user(node: fx.Node, kind: str) -> fx.Node | None:
        users = [user for user in node.users if kinds[user] != "shape"]
        return users[0] if len(users) == 1 and kinds[users[0]] == kind else None

    for node in graph.nodes:
        kind = kinds[node]
        if kind == "bn" and node not in taken:
            raise ValueError(
                f"batch normalization {node.target!r} does not follow a convolution "
                "whose output it alone uses: it cannot be folded, so no integer layer "
                "can take it"
            )
        if kind == "clamp" and node not in taken:
            if clamp_bounds(node, modules) != (0.0, math.inf):
                raise ValueError(
                    f"clamp {node.name!r} does not follow a layer or an addition whose "
                    "output it alone uses: its bounds may have no code"
                )
            continue
        if kind not in GROUPS or not node.users:
            continue
        last, bn, bounds = node, None, (-math.inf, math.inf)
        if kind == "conv" and (bn := only_user(last, "bn")) is not None:
            last = bn
        if kind in (*LAYERS, "add"):
            clamp = only_user(last, "clamp")
            if clamp is not None:
                last, bounds = clamp, clamp_bounds(clamp, modules)
        taken |= {node, bn, last}
        groups.append(Group(kind, node, last, bn, bounds))
    if not any(group.kind in LAYERS for group in groups):
        raise ValueError("the network has no convolution and no linear layer to round")
    return tuple(groups)
