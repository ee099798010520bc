"""What a control measures: one network with a fault in its quantizers."""

from __future__ import annotations

from typing import Any

from qstudy.experiments.controls.grid import FAULTS
from qstudy.experiments.evaluation import (
    calibration_batches,
    parent_network,
    scored,
)
from qstudy.spec import Context, RunSpec, Values


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names; ValueError for another task or fault."""
    from qstudy.measure import system
    from qstudy.methods import simulate

    params = spec.params
    if params["task"] != "faulty":
        raise ValueError(f"task {params['task']!r} is not one of ('faulty',)")
    model = parent_network(spec, ctx)
    calibration, _ = ctx.images(params["dataset"], params["split"])
    images, labels = ctx.images(params["dataset"], "test")
    config = simulate.SimulateConfig(
        weight_bits=params["bits"],
        activation_bits=params["bits"],
        granularity=params["granularity"],
    )
    with system.threads(params["threads"]):
        simulated = simulate.simulate(model, config)
        simulate.calibrate(
            simulated,
            calibration_batches(
                calibration, count=params["calibration_images"], draw=spec.seed
            ),
            observer=params["observer"],
        )
        plant(simulated, params["fault"])
        top1, arrays = scored(simulated, images, labels, kind="isa", tolerance=0.3)
    return Values({"top1": top1}, arrays=arrays)


def plant(simulated: Any, fault: str) -> None:
    """Put a fault into the quantizers of a calibrated simulated network, in place.

    ValueError for a fault that is not one of FAULTS.
    """
    from qstudy.methods.simulate import layers, quantizers

    if fault not in FAULTS:
        raise ValueError(f"fault {fault!r} is not one of {FAULTS}")
    of_weights = {layer.weight_quantizer for layer in layers(simulated).values()}
    for quantizer in quantizers(simulated).values():
        if fault == "rounds_down":
            quantizer.forward = _flooring(quantizer)
        elif fault == "half_scale" and quantizer not in of_weights:
            low, high = quantizer.range()
            quantizer.set_range(low / 2, high / 2)


def _flooring(quantizer: Any) -> Any:
    """The forward pass of a quantizer that cuts fractions off."""
    import torch

    qparams = quantizer.qparams()
    codes = qparams.codes

    def forward(x: torch.Tensor) -> torch.Tensor:
        scale, zero = (
            part if part.dim() == 0 else part.reshape(-1, *[1] * (x.dim() - 1))
            for part in (qparams.scale, qparams.zero_point)
        )
        cut = torch.floor(x / scale) + zero
        return (cut.clamp(codes.low, codes.high) - zero) * scale

    return forward
