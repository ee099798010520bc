"""Fold batch normalization into the convolution before it, and see what that changes.

In eval mode batch normalization is affine per channel, and a convolution is linear, so
the two are one convolution (Jacob et al. 2018, equation 14; Krishnamoorthi 2018,
section 3.2.2):

    gamma (W*x + b - mean) / sqrt(var + eps) + beta = W' * x + b'
    W' = W s,   b' = (b - mean) s + beta,   s = gamma / sqrt(var + eps)

with one s per output channel: padding, stride, dilation and groups play no part. The
other order (normalization before a zero-padded convolution) does not fold exactly and
is not covered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from qstudy.methods import legacy, plain


@dataclass(frozen=True)
class Pair:
    """Module paths: `conv` feeds `bn` and nothing else; `relu` follows, where one does.

    `relu` is None too where that ReLU module is called elsewhere as well: taking it
    into the group would take it away from there.
    """

    conv: str
    bn: str
    relu: str | None = None


def fold_bn(
    weight: Tensor,
    bias: Tensor | None,
    *,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """W' and b' of the module's formula.

    `weight` is (Cout, Cin/groups, kH, kW) of any float dtype; everything else (Cout,).
    `bias` None stands for 0, `gamma` None for 1, `beta` None for 0. The arithmetic is
    done in the widest dtype given, at least float32, and returned in `weight`'s. Raises
    ValueError for an integer weight, another shape, NaN or infinity, a negative
    variance, var + eps that is not positive, or a folded weight beyond its dtype.
    """
    channels = weight.shape[:1]
    if not weight.is_floating_point():
        raise ValueError(
            f"weight dtype {weight.dtype} is not a float: fold, then round"
        )
    named = {"bias": bias, "mean": mean, "var": var, "gamma": gamma, "beta": beta}
    for name, vector in named.items():
        if vector is not None and vector.shape != channels:
            raise ValueError(
                f"{name} of shape {tuple(vector.shape)} is not {tuple(channels)}, "
                "one value per output channel of the weight"
            )
    dtype = torch.promote_types(weight.dtype, torch.float32)
    for vector in (bias, mean, var, gamma, beta):
        if vector is not None:
            dtype = torch.promote_types(dtype, vector.dtype)
    for name, values in {"weight": weight, **named}.items():
        if values is not None and not bool(torch.isfinite(values).all()):
            raise ValueError(f"{name} holds NaN or infinity: load other weights")
    if bool((var < 0).any()):
        raise ValueError(f"var is {var.min().item()} somewhere: none is negative")
    spread = var.to(dtype) + eps
    if not bool((spread > 0).all()):
        raise ValueError(
            f"var + eps is {spread.min().item()} somewhere: it must be positive, "
            "so that it has a square root to divide by"
        )
    affine = {name: v.to(dtype) if v is not None else None for name, v in named.items()}
    scale, shift = bn_affine(**affine, eps=eps)
    folded = (
        (weight.to(dtype) * per_channel(scale, weight.dim())).to(weight.dtype),
        shift.to(weight.dtype),
    )
    if not all(bool(torch.isfinite(values).all()) for values in folded):
        raise ValueError(
            f"the folded weight is beyond {weight.dtype}: fold in a wider dtype "
            "(model.double())"
        )
    return folded


def bn_affine(
    *,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """s and b' of the module's formula, each (Cout,), and nothing checked.

    Differentiable, and free of branches on data, so that training compiles with it.
    """
    scale = (var + eps).rsqrt()
    if gamma is not None:
        scale = gamma * scale
    shift = (-mean if bias is None else bias - mean) * scale
    return scale, shift if beta is None else shift + beta


def per_channel(vector: Tensor, dims: int, *, axis: int = 0) -> Tensor:
    """(C,) as a view that broadcasts along `axis` of a tensor of `dims` dimensions."""
    return vector.reshape([-1 if d == axis else 1 for d in range(dims)])


def find_pairs(model: nn.Module) -> list[Pair]:
    """The convolutions and normalizations of `model` that fold, in calling order.

    Found in the traced graph, not by name or order of definition. Left out are
    subclasses of Conv2d and BatchNorm2d, which may compute something else; a
    normalization that keeps no running statistics; a convolution whose output, or
    either's parameters, are also used elsewhere; modules with hooks; and any module
    called more than once. Raises ValueError for a weight that is parametrized or
    computed by a hook, torch.fx's TraceError where control flow depends on data.
    """
    graph = _trace(model)
    modules = dict(model.named_modules())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    read = {id(_attribute(model, n.target)) for n in graph.nodes if n.op == "get_attr"}

    def fits(node: fx.Node, *kinds: type) -> bool:
        if node.op != "call_module" or calls[node.target] != 1:
            return False
        module = modules[node.target]
        if type(module) not in kinds or plain.hooked(module):
            return False
        values = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        return "forward" not in vars(module) and not any(id(v) in read for v in values)

    def only_user(node: fx.Node, *kinds: type) -> fx.Node | None:
        users = list(node.users)
        return users[0] if len(users) == 1 and fits(users[0], *kinds) else None

    pairs = []
    for node in graph.nodes:
        _refuse_computed(modules, node)
        if not fits(node, nn.Conv2d):
            continue
        bn = only_user(node, nn.BatchNorm2d)
        if bn is None or modules[bn.target].running_mean is None:
            continue
        relu = only_user(bn, nn.ReLU, nn.ReLU6)
        pairs.append(Pair(node.target, bn.target, relu.target if relu else None))
    return pairs


def _refuse_computed(modules: dict[str, nn.Module], node: fx.Node) -> None:
    """ValueError where a convolution is followed by a normalization and not plain."""
    if node.op != "call_module" or not isinstance(modules[node.target], nn.Conv2d):
        return
    after = [modules[u.target] for u in node.users if u.op == "call_module"]
    module = modules[node.target]
    computed = parametrize.is_parametrized(module) or "weight" in vars(module)
    if computed and any(isinstance(m, nn.BatchNorm2d) for m in after):
        raise ValueError(f"{plain.told(module, node.target)} {plain.departure(module)}")


def _attribute(model: nn.Module, target: str) -> object:
    path, _, name = target.rpartition(".")
    return getattr(model.get_submodule(path), name)


def _folded(model: nn.Module, pair: Pair) -> tuple[Tensor, Tensor]:
    """W' and b' of one pair; ValueError, naming it, as `fold_bn`."""
    conv, bn = model.get_submodule(pair.conv), model.get_submodule(pair.bn)
    try:
        with torch.no_grad():
            return fold_bn(
                conv.weight,
                conv.bias,
                mean=bn.running_mean,
                var=bn.running_var,
                gamma=bn.weight,
                beta=bn.bias,
                eps=bn.eps,
            )
    except ValueError as error:
        raise ValueError(f"{pair.conv!r} with {pair.bn!r}: {error}") from error


def fuse(model: nn.Module) -> nn.Module:
    """A copy of `model` in eval mode with every pair folded by `fold_bn`.

    The convolution keeps its place and gains a bias; the normalization becomes
    Identity; a ReLU stays what it was. Raises ValueError, naming the layers, as
    `find_pairs` and `fold_bn`.
    """
    fused = plain.copied(model)
    for pair in find_pairs(fused):
        conv = fused.get_submodule(pair.conv)
        weight, bias = _folded(fused, pair)
        conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
        fused.set_submodule(pair.bn, nn.Identity())
    return fused.eval()  # the Identity modules too


def fuse_torch(model: nn.Module) -> nn.Module:
    """`fuse` by torch.ao.quantization.fuse_modules, which static quantization expects.

    Here a ReLU joins its convolution in one module, ConvReLU2d. ReLU6 stays outside,
    for torch has no such module. Raises ValueError as `fuse`, ImportError where torch
    no longer has the API.
    """
    api = legacy.eager_api()
    fused = plain.copied(model)
    groups = []
    for pair in find_pairs(fused):
        _folded(fused, pair)  # refuses what torch would fold into NaN
        joins = pair.relu and type(fused.get_submodule(pair.relu)) is nn.ReLU
        groups.append([pair.conv, pair.bn, *([pair.relu] if joins else [])])
    # Once more, because the modules that fusing made are in training mode.
    return (api.fuse_modules(fused, groups) if groups else fused).eval()


def operations(model: nn.Module) -> dict[str, int]:
    """How often one forward pass calls each leaf operation, by name, most calls first.

    Counted in the traced graph, so a module called twice counts twice. Identity, which
    computes nothing, is left out.
    """
    modules = dict(model.named_modules())
    names: Counter[str] = Counter()
    for node in _trace(model).nodes:
        if node.op == "call_module":
            names[type(modules[node.target]).__name__] += 1
        elif node.op == "call_function":
            names[node.target.__name__] += 1
        elif node.op == "call_method":
            names[node.target] += 1
    names.pop("Identity", None)
    return dict(sorted(names.items(), key=lambda item: (-item[1], item[0])))


class _Tracer(fx.Tracer):
    """Stops at every module without children, this study's own (Add) included."""

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        childless = next(module.children(), None) is None
        return childless or super().is_leaf_module(module, path)


def _trace(model: nn.Module) -> fx.Graph:
    return _Tracer().trace(model)
