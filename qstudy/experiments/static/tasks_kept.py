"""What layers back in fp32 are worth, and what they take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from qstudy.experiments import timing
from qstudy.experiments.evaluation import parent_network
from qstudy.experiments.static import grid_kept
from qstudy.experiments.static.tasks_sweeps import Scores, calibration
from qstudy.spec import Context, RunSpec, Value, Values


def kept(spec: RunSpec, ctx: Context) -> Values:
    """Top-1 of each set of grid_kept: below 8 bits simulated, at 8 in the engine.

    `layers` is how many layers the network has.
    """
    from qstudy.methods import convert, simulate

    params = spec.params
    model, batches = parent_network(spec, ctx), calibration(spec, ctx)
    scores = Scores(spec, ctx, skip=params["ranked_images"])
    scores.add("fp32", model)
    wanted = grid_kept.sets(params)
    with ctx.progress(len(params["bits"]) * len(wanted), "kept") as step:
        for bits in params["bits"]:
            how = simulate.SimulateConfig(
                weight_bits=bits, activation_bits=bits, first_last_bits=bits
            )
            simulated = simulate.simulate(model, how).eval()
            simulate.calibrate(simulated, batches)
            every = tuple(simulate.layers(simulated))
            for name, layers in wanted.items():
                simulate.keep_float(simulated, every if layers is None else layers)
                if bits < 8:
                    network = simulate.fixed(simulated)
                else:
                    network = convert.convert(simulated, engine=params["engine"])
                scores.add(f"w{bits}.{name}", network)
                step(f"W{bits}A{bits} {name}")
    return scores.outcome(layers=Value(len(every), "count", "exact"))


def kept_latency(spec: RunSpec, ctx: Context) -> Values:
    """One image through each set in 8 bits; ratios against none kept, and best fp32."""
    from qstudy.experiments.static.tasks import calibration_file

    params = spec.params
    parent = RunSpec.from_dict(params["parent"])
    result = timing.measure(
        spec,
        ctx,
        factory=timed_forward,
        arguments={
            "model": params["model"],
            "checkpoint": str(ctx.checkpoint(parent)),
            "calibration": str(calibration_file(spec, ctx)),
            "engine": params["engine"],
            "kept": grid_kept.sets(params),
        },
    )
    return Values(values=timing.values(result, _pairs(result)))


def _pairs(result: Any) -> Callable[[int], timing.Pairs]:
    from qstudy.measure import latency

    def pairs(batch: int) -> timing.Pairs:
        fp32 = [name for name in result.medians if name.startswith("fp32:")]
        baselines = {
            "int8": f"int8:{grid_kept.NONE}",
            "best_fp32": latency.fastest(result, fp32, batch=batch),
        }
        return [
            (said, baseline, candidate)
            for said, baseline in baselines.items()
            for candidate in result.medians
        ]

    return pairs


def timed_forward(
    *,
    name: str,
    model: str,
    checkpoint: str,
    calibration: str,
    engine: str,
    kept: dict[str, list[str] | None],
    batch: int,
) -> Any:
    """What a timing worker times: one forward pass of "int8:SET" or "fp32:FORM".

    `kept` has the layers of each set, None for every one; `calibration` is a .npy of
    uint8 images, which also serve as the input.
    """
    import numpy as np
    import torch

    from qstudy.methods import convert, fp32, simulate
    from qstudy.training.batches import normalise

    precision, _, how = name.partition(":")
    images = np.load(calibration, allow_pickle=False)
    x = normalise(np.resize(images, (batch, *images.shape[1:])))
    if precision == "fp32":
        x = x.contiguous() if how == "eager" else x
        forward = fp32.candidate(_network(model, checkpoint), how)
    else:
        simulated = _calibrated(model, checkpoint, calibration)
        layers = kept[how]
        every = simulate.layers(simulated)
        simulate.keep_float(simulated, every if layers is None else layers)
        forward = convert.convert(simulated, engine=engine)

    def call() -> None:
        with torch.inference_mode():
            forward(x)

    return call


def _network(model: str, checkpoint: str) -> Any:
    from qstudy.models import zoo

    network = zoo.build(model).eval()
    zoo.load_checkpoint(network, checkpoint)
    return network


@cache
def _calibrated(model: str, checkpoint: str, calibration: str) -> Any:
    """One for all sets of a worker, which differ in what is kept of it.

    The observer is min-max, which is quick and leaves the arithmetic of a pass alone.
    """
    import numpy as np

    from qstudy.methods import simulate
    from qstudy.training.batches import normalise

    images = np.load(calibration, allow_pickle=False)
    simulated = simulate.simulate(
        _network(model, checkpoint), simulate.SimulateConfig()
    ).eval()
    simulate.calibrate(simulated, [normalise(images)], observer="minmax")
    return simulated
