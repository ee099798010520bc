"""AdaRound: whether each weight is rounded up or down is learned, layer by layer.

Rounding to nearest minimizes the error of each weight, not that of the layer's output,
where errors of many weights add up or cancel. Nagel et al. 2020 (arXiv 2004.10568)
learn a V of the weight's shape that says which way,

    W~ = s clip(floor(W / s) + h(V), q_min, q_max)
    h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1),  zeta = 1.1, gamma = -0.1

by gradient descent on E|W x - W~ x~|^2 + lambda sum(1 - |2 h(V) - 1|^beta), where x is
the layer's input in the float network and x~ in the quantized one (their asymmetric
reconstruction, equations 21 to 24, without the activation function). beta falls from 20
to 2 and drives every h to 0 or 1.

The expectation is a quadratic form in W~. So the data enter through two matrices,
E[x~ x~'] and E[x x~'], gathered once over all pixels: every step of the descent then
sees all of the data, and costs a product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from qstudy.methods.simulate.fixed import folded_layers
from qstudy.methods.simulate.layers import RoundedLayer
from qstudy.methods.simulate.ranges import in_float, inputs, layers
from qstudy.methods.static.bias_correction import _in_calling_order, run_until
from qstudy.numerics.mapping import CodeRange

ZETA, GAMMA = 1.1, -0.1


@dataclass(frozen=True, kw_only=True)
class AdaRoundConfig:
    """The descent: Adam of `rate` for `steps` steps, the defaults of the paper's code.

    `weight` is lambda; for the share `warm_up` of the steps it is 0. Raises ValueError
    outside steps >= 1, rate > 0, weight >= 0, 0 <= warm_up < 1.
    """

    steps: int = 1000
    rate: float = 0.01
    weight: float = 0.01
    warm_up: float = 0.2

    def __post_init__(self) -> None:
        for name, fine in (
            ("steps", self.steps >= 1),
            ("rate", self.rate > 0),
            ("weight", self.weight >= 0),
            ("warm_up", 0 <= self.warm_up < 1),
        ):
            if not fine:
                raise ValueError(
                    f"{name} {getattr(self, name)} is outside steps >= 1, rate > 0, "
                    "weight >= 0, 0 <= warm_up < 1"
                )


@dataclass(frozen=True, eq=False)
class Moments:
    """E[x~ x~'], E[x x~'] and E[x x'] of a layer's inputs, float32 (groups, K, K).

    K is the number of weights that make one output, E the mean over examples and
    pixels.
    """

    quantized: Tensor
    mixed: Tensor
    real: Tensor

    def error(self, weight: Tensor, rounded: Tensor) -> Tensor:
        """E|W x - W~ x~|^2 of each output channel, (groups, Cout / groups).

        Both weights are (groups, Cout / groups, K).
        """
        own = ((rounded @ self.quantized) * rounded).sum(-1)
        cross = ((weight @ self.mixed) * rounded).sum(-1)
        return own - 2 * cross + ((weight @ self.real) * weight).sum(-1)


def adaround(
    simulated: fx.GraphModule,
    batches: Iterable[Any],
    *,
    config: AdaRoundConfig | None = None,
) -> fx.GraphModule:
    """A copy of the calibrated `simulated` whose weights lie where rounding is best.

    Folded, in eval mode; every weight is a multiple of its scale, so that its quantizer
    leaves it alone, and ranges are as before. No output channel is worse on `batches`
    than rounded to nearest, by the error above: where the descent ends worse, nearest
    is kept. Layers whose rounding is switched off are passed over. Raises ValueError as
    `calibrate` and `folded_layers`, and for a padding that is not zeros.
    """
    config = config or AdaRoundConfig()
    learned = folded_layers(simulated)
    real = folded_layers(simulated)
    shown = list(inputs(batches))
    found, of_real = layers(learned), layers(real)
    for path in _in_calling_order(learned, found):
        layer = found[path]
        if not bool(layer.weight_quantizer.quantizing):
            continue
        moments = gather(real, of_real[path], learned, layer, shown)
        qparams = layer.weight_quantizer.qparams()
        weight = _grouped(layer.layer, layer.layer.weight.detach())
        scale = qparams.scale
        if scale.dim():
            scale = scale.reshape(len(weight), -1, 1)
        codes = learn(weight, scale, qparams.codes, moments, config)
        with torch.no_grad():
            rounded = (codes * scale).reshape(layer.layer.weight.shape)
            layer.layer.weight.copy_(rounded)
    return learned


def learn(
    weight: Tensor,
    scale: Tensor,
    codes: CodeRange,
    moments: Moments,
    config: AdaRoundConfig,
) -> Tensor:
    """The codes of `weight` (groups, Cout / groups, K), whole floats of its shape.

    Each is the floor of W / s or one more, clipped; `scale` broadcasts against it.
    """
    steps = weight / scale
    floor = torch.floor(steps)
    rest = (steps - floor).clamp(1e-4, 1 - 1e-4)
    v = torch.logit((rest - GAMMA) / (ZETA - GAMMA)).requires_grad_()
    optimizer = torch.optim.Adam([v], lr=config.rate)
    quiet = int(config.warm_up * config.steps)
    for step in range(config.steps):
        h = soft(v)
        rounded = scale * (floor + h).clamp(codes.low, codes.high)
        loss = moments.error(weight, rounded).sum()
        if step >= quiet:
            done = (step - quiet) / max(1, config.steps - quiet)
            beta = 20 - 18 * done
            loss = loss + config.weight * (1 - (2 * h - 1).abs().pow(beta)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        chosen = (floor + (soft(v) >= 0.5)).clamp(codes.low, codes.high)
        nearest = torch.round(steps).clamp(codes.low, codes.high)
        better = moments.error(weight, chosen * scale) < moments.error(
            weight, nearest * scale
        )
        return torch.where(better[..., None], chosen, nearest)


def soft(v: Tensor) -> Tensor:
    """h(V), from 0 to 1: the rectified sigmoid of equation 23."""
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def gather(
    real: nn.Module,
    real_layer: RoundedLayer,
    quantized: nn.Module,
    quantized_layer: RoundedLayer,
    batches: list[Tensor],
) -> Moments:
    """The moments of one layer's inputs in two networks over the same batches."""
    sums: list[Tensor | float] = [0.0, 0.0, 0.0]
    count = 0
    with torch.no_grad():
        for batch in batches:
            with in_float(real):
                seen = _input(real, real_layer, batch)
            x = _columns(real_layer.layer, seen)
            near = _columns(real_layer.layer, _input(quantized, quantized_layer, batch))
            count += x.shape[1]
            for place, (a, b) in enumerate(((near, near), (x, near), (x, x))):
                sums[place] = sums[place] + a.transpose(1, 2) @ b
    return Moments(*(total / count for total in sums))


def _input(network: nn.Module, layer: RoundedLayer, batch: Tensor) -> Tensor:
    """What `layer` is shown of `batch`."""
    seen: list[Tensor] = []
    run_until(network, layer, [batch], lambda x, _: seen.append(x))
    return seen[0]


def _columns(layer: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """What is multiplied with each output channel's weights: (groups, N, K)."""
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ValueError(
            f"padding {layer.padding!r} ({layer.padding_mode}) of a convolution: "
            "AdaRound here knows numbers of zeros"
        )
    patches = F.unfold(
        x,
        layer.kernel_size,
        dilation=layer.dilation,
        padding=layer.padding,
        stride=layer.stride,
    )  # (B, Cin kH kW, L)
    parts = patches.reshape(len(x), layer.groups, -1, patches.shape[-1])
    return parts.permute(1, 0, 3, 2).flatten(1, 2)


def _grouped(layer: nn.Conv2d | nn.Linear, weight: Tensor) -> Tensor:
    groups = getattr(layer, "groups", 1)
    return weight.reshape(groups, len(weight) // groups, -1)
