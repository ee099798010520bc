"""Sweeps over networks, engines and cures; the depth of the error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from qstudy.experiments.evaluation import parent_network
from qstudy.experiments.static.grid_sweeps import label
from qstudy.experiments.static.tasks_sweeps import (
    Scores,
    calibration,
    sweep,
)
from qstudy.spec import Context, RunSpec, Value, Values


def models(spec: RunSpec, ctx: Context) -> Values:
    """One network by the house's rule at each width, in the simulated form."""
    from qstudy.methods import static

    def network(condition: dict[str, Any], model: Any, batches: list) -> Any:
        how = static.QuantizeConfig(
            **{k: condition[k] for k in ("weight_bits", "activation_bits")},
            calibrator=condition["calibrator"],
            engine=None,
        )
        return static.quantize(model, batches, how)

    return sweep(spec, ctx, network).outcome()


def engines(spec: RunSpec, ctx: Context) -> Values:
    """One simulated network in each engine's kernels, and each engine's defaults.

    `agree.*`: the share of images that a network classes as the simulated one does.
    """
    from qstudy.methods import static

    model, batches = parent_network(spec, ctx), calibration(spec, ctx)
    scores = Scores(spec, ctx)
    scores.add("fp32", model)
    how = static.QuantizeConfig(engine=None)
    simulated = static.quantize(model, batches, how).simulated
    scores.add(
        "simulated", static.StaticNetwork(how, simulated=simulated, converted=None)
    )
    with ctx.progress(len(spec.params["conditions"]), "engines") as step:
        for condition in spec.params["conditions"]:
            name = label(condition)
            scores.add(name, _in_engine(condition, model, simulated, batches))
            step(name)
    told = scores.predictions[1]
    for name, found in zip(scores.names, scores.predictions, strict=True):
        share = 100 * float(np.mean(found == told))
        scores.values[f"agree.{name}"] = Value(share, "%", "isa", tolerance=0.5)
    return scores.outcome()


# What torch's get_default_qconfig gives for each engine (torch 2.13): histogram ranges,
# 7-bit activations where 16-bit sums could overflow, one weight scale for qnnpack.
DEFAULTS = {
    "x86": {"activation_bits": 7, "weight_granularity": "per_channel"},
    "fbgemm": {"activation_bits": 7, "weight_granularity": "per_channel"},
    "onednn": {"activation_bits": 8, "weight_granularity": "per_channel"},
    "qnnpack": {"activation_bits": 8, "weight_granularity": "per_tensor"},
}


def _in_engine(
    condition: dict[str, Any], model: Any, simulated: Any, batches: list
) -> Callable:
    from qstudy.methods import convert, static

    engine, how = condition["engine"], condition["how"]
    if engine == "onnxruntime":
        from torch import nn

        from qstudy.methods.engines.onnxruntime_static import quantized_session

        options = {"per_channel": True, "unsigned": True} if how == "matched" else {}
        forward = quantized_session(model, batches, **options)

        class Session(nn.Module):
            def forward(self, x: Any) -> Any:
                return forward(x)

        return Session()
    if how == "same":
        return convert.convert(simulated, engine=engine)
    config = static.StaticConfig(engine=engine, **DEFAULTS[engine])
    return static.quantize_static(model, batches, config)


def depth(spec: RunSpec, ctx: Context) -> Values:
    """SQNR of every kernel's result against fp32, W8A8, on images scored."""
    from qstudy.methods import static
    from qstudy.methods.noise import kernel_noise
    from qstudy.training.batches import normalise

    params = spec.params
    model, batches = parent_network(spec, ctx), calibration(spec, ctx)
    images, _ = ctx.images(params["dataset"], params["scored_on"])
    how = static.QuantizeConfig(engine=params["engine"])
    quantized = static.quantize(model, batches, how)
    found = kernel_noise(
        quantized.simulated,
        quantized.converted,
        normalise(images[: params["noise_images"]]),
    )
    values = {}
    for place, kernel in enumerate(found):
        for form in ("simulated", "converted"):
            values[f"{place:02d}.{kernel.name}.{form}"] = Value(
                getattr(kernel, form), "dB", "isa", tolerance=0.5
            )
    return Values(values)


def cures(spec: RunSpec, ctx: Context) -> Values:
    """W4A8: rounded to nearest, then cured; `cpu.*` is what each cure took."""
    from qstudy.methods import simulate, static

    params = spec.params
    taken: dict[str, Value] = {}
    rounded: dict[tuple[str, str], Any] = {}

    def network(condition: dict[str, Any], model: Any, batches: list) -> Any:
        granularity, cure = condition["granularity"], condition["cure"]
        how = simulate.SimulateConfig(
            weight_bits=params["weight_bits"], granularity=granularity
        )

        def nearest(fp32: Any) -> Any:
            return simulate.simulate(fp32, how, calibration=batches).eval()

        start = time.process_time()
        if cure == "nearest":
            made = nearest(model)
        elif cure == "bias":
            made = static.correct_biases(rounded[granularity, "nearest"], batches)
        elif cure == "equalized":
            made = nearest(static.equalize(model))
        elif cure == "equalized_bias":
            made = static.correct_biases(rounded[granularity, "equalized"], batches)
        elif cure == "adaround":
            descent = static.AdaRoundConfig(steps=params["steps"])
            made = static.adaround(
                rounded[granularity, "nearest"], batches, config=descent
            )
        elif cure == "adaround_bias":
            made = static.correct_biases(
                rounded[granularity, "adaround"],
                batches,
                reference=rounded[granularity, "nearest"],
            )
        else:
            raise ValueError(f"cure {cure!r} is not one of the grid's")
        spent = time.process_time() - start
        taken[f"cpu.{label(condition)}"] = Value(spent, "s", "timing", spent, spent)
        rounded[granularity, cure] = made
        return simulate.fixed(made)

    scores = sweep(spec, ctx, network)
    return scores.outcome(**taken)
