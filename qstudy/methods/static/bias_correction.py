"""Bias correction: rounding shifts the mean of what a layer gives; shift it back.

The error of a rounded weight is fixed, and the inputs behind a ReLU are positive, so
the errors of many products do not cancel: the mean of each output channel moves. Nagel
et al. 2019 (arXiv 1906.04721, section 4.2, and appendix D for the empirical form used
here) subtract it, which costs nothing at run time, for it goes into the bias:

    b <- b - (E[y of the quantized network] - E[y of the float network])

layer by layer in calling order, so that each is corrected for what the corrected ones
before it still send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from qstudy.methods.simulate.fixed import folded_layers
from qstudy.methods.simulate.ranges import in_float, inputs, layers


class _Seen(Exception):
    """The layer asked for has run; what follows need not."""


def correct_biases(
    simulated: fx.GraphModule,
    batches: Iterable[Any],
    *,
    reference: fx.GraphModule | None = None,
) -> fx.GraphModule:
    """A copy of the calibrated `simulated` with corrected biases, folded, in eval mode.

    Over `batches` (as for `calibrate`) each output channel of each layer then has the
    mean that it has in the float network, to float32's rounding. The bias stays a
    float, as engines take it. The float network is `simulated` without rounding;
    `reference`, a simulated network too, stands in where weights have been changed, as
    AdaRound does. Raises ValueError as `calibrate` and `folded_layers`.
    """
    corrected = folded_layers(simulated)
    shown = list(inputs(batches))
    found = layers(corrected)
    with torch.no_grad():
        real = folded_layers(reference or simulated)
        with in_float(real):
            wanted = {
                path: layer_mean(real, layer, shown)
                for path, layer in layers(real).items()
            }
        for path in _in_calling_order(corrected, found):
            layer = found[path]
            error = layer_mean(corrected, layer, shown) - wanted[path]
            if layer.layer.bias is None:
                layer.layer.bias = nn.Parameter(-error)
            else:
                layer.layer.bias.sub_(error)
    return corrected


def layer_mean(network: nn.Module, layer: nn.Module, batches: list[Tensor]) -> Tensor:
    """The mean of each output channel of `layer` over `batches`, (Cout,) float32."""
    total, count = 0.0, 0

    def look(y: Tensor) -> None:
        nonlocal total, count
        flat = y.movedim(1, 0).flatten(1).double()
        total, count = total + flat.sum(1), count + flat.shape[1]

    run_until(network, layer, batches, lambda _x, y: look(y))
    return (total / count).float()


def run_until(
    network: nn.Module,
    layer: nn.Module,
    batches: list[Tensor],
    look: Callable[[Tensor, Tensor], None],
) -> None:
    """Run each batch as far as `layer`, and hand its input and its output to `look`."""

    def hook(module: nn.Module, arguments: tuple[Tensor, ...], y: Tensor) -> None:
        look(arguments[0], y)
        raise _Seen

    handle = layer.register_forward_hook(hook)
    try:
        for batch in batches:
            try:
                network(batch)
            except _Seen:
                continue
    finally:
        handle.remove()


def _in_calling_order(network: fx.GraphModule, names: Iterable[str]) -> list[str]:
    wanted = set(names)
    return [n.target for n in network.graph.nodes if n.target in wanted]
