"""Quantization-aware training: a simulated network, the one loop, a schedule as data.

The network is trained in its simulated form (qstudy.methods.simulate), so that the
rounding which the integer form will do is part of every loss, and its gradients pass
the rounding as if it were not there (Jacob et al. 2018, arXiv 1712.05877, section 3).
What training switches on its way is `Schedule`, which stands in the run's parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import fx

from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.simulate import (
    SimulateConfig,
    config_of,
    layers,
    quantizers,
    set_weight_ranges,
)
from qstudy.training.loop import Progress
from qstudy.training.loop import train as train_network
from qstudy.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When ranges and statistics come to rest, as shares of all updates, 0 to 1.

    From the share `observe` on, moving averages of ranges keep the value that they
    have; from `statistics` on, batch normalization uses its running statistics, in the
    order of Krishnamoorthi 2018 (arXiv 1806.08342, section 3.2.2) and of PyTorch's
    tutorial: ranges first, statistics later. 1 means never. Raises ValueError outside
    0 to 1, and for statistics that rest before the ranges do, which would then be those
    of another network.
    """

    observe: float = 0.5
    statistics: float = 1.0

    def __post_init__(self) -> None:
        for name in ("observe", "statistics"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} {value!r} is outside 0 to 1")
        if self.statistics < self.observe:
            raise ValueError(
                f"statistics {self.statistics} rest before observe {self.observe}: "
                "ranges must rest first, or at the same time"
            )

    def apply(self, simulated: fx.GraphModule, step: int, steps: int) -> None:
        """Switch `simulated` to what holds at update `step` (from 0) of `steps`.

        Depends on the two numbers alone, so that a resumed run is switched like one
        that was never interrupted.
        """
        # Weights follow their own extremes (averaging_constant 1) and go on doing so.
        following = {id(layer.weight_quantizer) for layer in layers(simulated).values()}
        watching = step < self.observe * steps
        for quantizer in quantizers(simulated).values():
            if quantizer.config.ranges == "moving_average":
                quantizer.observe(watching or id(quantizer) in following)
        if step >= self.statistics * steps:
            for layer in layers(simulated).values():
                if isinstance(layer, ConvBn2d) and not layer.frozen:
                    layer.freeze()


def train(
    simulated: fx.GraphModule,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    recipe: Recipe,
    schedule: Schedule,
    seed: int,
    resume: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    stop_after: int | None = None,
) -> list[dict]:
    """Train `simulated` (of simulate.simulate, calibrated) in place; see loop.train.

    Raises ValueError for another network, ranges that have not been set, and a learning
    rate of 0, with which nothing is trained; FloatingPointError where the loss is no
    longer finite.
    """
    config = config_of(simulated)
    if not isinstance(config, SimulateConfig):
        raise ValueError(
            f"the network was simulated with {type(config).__name__}, whose steps are "
            "learned: train it with qstudy.methods.lsq"
        )
    if recipe.peak_lr == 0 and recipe.muon_lr == 0:
        raise ValueError(
            "peak_lr 0 trains nothing: take a rate above 0, or evaluate the calibrated "
            "network, which is post-training quantization"
        )
    for quantizer in quantizers(simulated).values():
        quantizer.qparams()  # names a quantizer without a range before time is spent
    log = train_network(
        simulated,
        images,
        labels,
        recipe=recipe,
        seed=seed,
        resume=resume,
        report=report,
        before_step=_Switch(simulated, schedule),
        stop_after=stop_after,
    )
    if config.weight_ranges == "moving_average":
        # The last update moved the weights once more than their ranges.
        set_weight_ranges(simulated)
    return log


class _Switch:
    """Applies a schedule where its state changes, and not at every update."""

    def __init__(self, simulated: fx.GraphModule, schedule: Schedule) -> None:
        self.simulated, self.schedule = simulated, schedule
        self.last: tuple[bool, bool] | None = None

    def __call__(self, step: int, steps: int) -> None:
        now = (
            step < self.schedule.observe * steps,
            step < self.schedule.statistics * steps,
        )
        if now != self.last:
            self.schedule.apply(self.simulated, step, steps)
            self.last = now
