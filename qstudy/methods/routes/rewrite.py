"""A network whose modules are each called once, and which computes the same.

Export-based quantizers tell operations apart by the module they came from: torchao's
X86InductorQuantizer refuses torchvision's ResNets, whose blocks call one ReLU twice.
Each further call of a module without weights gets a copy of it. The same operations
run in the same order on the same numbers, so every bit of the result is the same.
"""

from __future__ import annotations

import copy

from torch import fx, nn

from qstudy.methods import plain


def one_module_a_call(model: nn.Module) -> nn.Module:
    """A copy of `model`, in eval mode, in which no module without state runs twice.

    Modules with weights or statistics keep all their calls: a copy of theirs would be
    another parameter. A network that torch.fx cannot trace is returned as a plain copy.
    """
    owned = plain.copied(model)
    try:
        graph = fx.Tracer().trace(owned)
    except (fx.proxy.TraceError, TypeError, RuntimeError, AttributeError):
        return owned
    modules = dict(owned.named_modules())
    called: set[str] = set()
    changed = False
    for node in graph.nodes:
        if node.op != "call_module" or modules[node.target].state_dict():
            continue
        path = node.target
        if path in called:
            number = 2
            while f"{path}_call{number}" in called:
                number += 1
            node.target = f"{path}_call{number}"
            owned.set_submodule(node.target, copy.deepcopy(modules[path]))
            changed = True
        called.add(node.target)
    for node in graph.nodes:
        # Where a node came from, which exporters believe rather than its module.
        node.meta.clear()
    return fx.GraphModule(owned, graph).eval() if changed else owned
