"""Learned step size quantization of a network: where steps start, and the training.

    simulated = simulate(model, LsqConfig(weight_bits=2, activation_bits=2))
    start(simulated, batch)
    train(simulated, images, labels, recipe=recipe, seed=0, teacher=model)

(Esser et al. 2020, arXiv 1902.08153.) The weights stay in float32 beside their steps
and both learn in the one loop (qstudy.training.loop); the quantizer is that of
qstudy.methods.learned.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, fx, nn

from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.learned import LearnedQuantize
from qstudy.methods.simulate import LsqConfig, config_of, layers, quantizers
from qstudy.methods.simulate.layers import RoundedLayer
from qstudy.methods.simulate.ranges import inputs
from qstudy.training.loop import Progress
from qstudy.training.loop import train as train_network
from qstudy.training.recipe import Recipe


def learned(simulated: nn.Module) -> dict[str, LearnedQuantize]:
    """Every learned quantizer by its path; ValueError for a network without."""
    config = config_of(simulated)
    if not isinstance(config, LsqConfig):
        raise ValueError(
            f"network {type(simulated).__name__} was simulated with "
            f"{type(config).__name__}: LSQ needs one made with LsqConfig"
        )
    return quantizers(simulated)


def start(simulated: fx.GraphModule, batch: Tensor) -> None:
    """Set every step from the tensor that it will round, all of them or none.

    One forward pass on float `batch` (B, ...) in train mode, as the first of a
    training: each quantizer is started from what reaches it and then rounds, so that
    the next sees what it will see. Running statistics and modes are as before
    afterwards. Raises ValueError for an empty batch or one that is not finite, by the
    quantizer's name for what reaches it, and for another network.
    """
    (batch,) = inputs([batch])
    hooks = [
        quantizer.register_forward_pre_hook(lambda module, args: module.start(args[0]))
        for quantizer in learned(simulated).values()
    ]
    modes = [(module, module.training) for module in simulated.modules()]
    tensors = [*simulated.parameters(), *simulated.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    started = False
    try:
        with torch.no_grad():
            simulated.train()(batch)
        started = True
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
        for tensor, old in zip(tensors, before, strict=True):
            if not (started and isinstance(tensor, nn.Parameter)):
                tensor.data.copy_(old)


def train(
    simulated: fx.GraphModule,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    recipe: Recipe,
    seed: int,
    teacher: nn.Module | None = None,
    resume: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    stop_after: int | None = None,
) -> list[dict]:
    """Train `simulated` and its steps in place; see loop.train.

    Afterwards every parameter is its step itself, whatever kept it positive. Raises
    ValueError for another network, steps that have not been started, a rate of 0, with
    which nothing is trained, and a state to resume of other bits.
    """
    if recipe.peak_lr == 0 and recipe.muon_lr == 0 and not recipe.step_lr:
        raise ValueError(
            "peak_lr 0 trains nothing: take a rate above 0, or evaluate the network as "
            "it was started"
        )
    for quantizer in learned(simulated).values():
        quantizer.check()
    log = train_network(
        simulated,
        images,
        labels,
        recipe=recipe,
        seed=seed,
        resume=resume,
        report=report,
        teacher=teacher,
        stop_after=stop_after,
    )
    if len(log) == recipe.epochs:
        for quantizer in learned(simulated).values():
            quantizer.settle()
    return log


def rounded_tensors(
    simulated: fx.GraphModule, batch: Tensor
) -> list[tuple[LearnedQuantize, Tensor]]:
    """Each quantizer and what it is shown of float `batch` in eval mode, detached."""
    shown: list[tuple[LearnedQuantize, Tensor]] = []
    hooks = [
        quantizer.register_forward_pre_hook(
            lambda module, args: shown.append((module, args[0].detach()))
        )
        for quantizer in learned(simulated).values()
    ]
    try:
        with torch.no_grad():
            simulated.eval()(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return shown


class UpdateRatios:
    """R of each quantizer while its network is trained, from now on.

    R = (|dL/ds| / s) / (||dL/dw|| / ||w||) with the weights w of the layer that the
    quantizer belongs to (Esser et al. 2020, arXiv 1902.08153, section 2.2). Watches
    gradients as they arrive; the training is the same to the bit.
    """

    def __init__(self, simulated: fx.GraphModule) -> None:
        weights = {
            layer.weight_quantizer.name.removesuffix(".weight"): weight_of(layer)
            for layer in layers(simulated).values()
        }
        self._sizes: dict[str, list[Tensor]] = {}
        self._layers: dict[str, str] = {}
        for name, weight in weights.items():
            self._watch(name, weight)
        for quantizer in learned(simulated).values():
            layer = quantizer.name.rpartition(".")[0]
            self._layers[quantizer.name] = layer
            self._watch(quantizer.name, quantizer.step)

    def means(self) -> dict[str, float]:
        """By the quantizer's name, the mean of R so far; nan where there was none.

        R has no value in an update in which the weights had no gradient: see `alive`.
        """
        made = {}
        for name, layer in self._layers.items():
            steps = torch.stack(self._sizes[name]).double()
            weights = torch.stack(self._sizes[layer]).double()
            moved = weights > 0
            made[name] = float((steps[moved] / weights[moved]).mean())
        return made

    def alive(self) -> dict[str, float]:
        """By layer, the share of updates in which its weights had a gradient.

        They have none once a step has grown so far that all their codes, or all that
        the next layers read, are zero.
        """
        return {
            layer: float((torch.stack(self._sizes[layer]) > 0).double().mean())
            for layer in dict.fromkeys(self._layers.values())
        }

    def _watch(self, name: str, parameter: nn.Parameter) -> None:
        sizes = self._sizes[name] = []
        parameter.register_post_accumulate_grad_hook(
            lambda p: sizes.append(p.grad.norm() / p.detach().norm())
        )


def weight_of(layer: RoundedLayer | ConvBn2d) -> nn.Parameter:
    """The parameter that the layer rounds."""
    kept = layer.conv if isinstance(layer, ConvBn2d) else layer.layer
    return kept.weight
