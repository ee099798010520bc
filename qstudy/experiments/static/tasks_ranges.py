"""Sweeps over how ranges are found: weights alone, activations, draws of images."""

from __future__ import annotations

from typing import Any

from qstudy.experiments.evaluation import parent_network
from qstudy.experiments.static.grid_sweeps import label
from qstudy.experiments.static.tasks_sweeps import (
    Scores,
    calibration,
    sweep,
)
from qstudy.spec import Context, RunSpec, Value, Values

_BN = {"folded": "frozen", "kept": "none"}


def weights(spec: RunSpec, ctx: Context) -> Values:
    """Weights rounded, activations in fp32; nothing needs data."""
    from qstudy.methods import simulate

    def network(condition: dict[str, Any], model: Any, _: list) -> Any:
        how = simulate.SimulateConfig(
            weight_bits=condition["weight_bits"],
            granularity=condition["granularity"],
            bn_strategy=_BN[condition["bn"]],
        )
        simulated = simulate.simulate(model, how).eval()
        simulate.set_weight_ranges(simulated)
        for path, quantizer in simulate.quantizers(simulated).items():
            quantizer.quantize(path.endswith(".weight_quantizer"))
        return simulate.fixed(simulated)

    return sweep(spec, ctx, network).outcome()


def activations(spec: RunSpec, ctx: Context) -> Values:
    """W8 and activations of few bits, by every calibrator, affine and symmetric."""
    from qstudy.methods import simulate

    def network(condition: dict[str, Any], model: Any, batches: list) -> Any:
        bits, observer = condition["activation_bits"], condition["calibrator"]
        options = {k: condition[k] for k in ("percentile",) if k in condition}
        symmetric = condition["scheme"] == "scale"
        if symmetric and observer in simulate.SEARCHED:
            options["signed"] = True  # the search then reckons with half of the codes
        how = simulate.SimulateConfig(activation_bits=bits)
        simulated = simulate.simulate(model, how).eval()
        simulate.calibrate(simulated, batches, observer=observer, **options)
        if symmetric:
            _make_symmetric(simulated)
        return simulate.fixed(simulated)

    return sweep(spec, ctx, network).outcome()


def _make_symmetric(simulated: Any) -> None:
    """Give every activation the codes of scale quantization: zero in the middle.

    Of b bits, s = max(|low|, |high|) / (2^(b-1) - 1) (Wu et al. 2020, equation 6). As
    unsigned codes with the zero point 2^(b-1), which round alike.
    """
    from qstudy.methods import simulate

    for path, quantizer in simulate.quantizers(simulated).items():
        if not path.endswith(".weight_quantizer"):
            low, high = quantizer.range()
            half = 2 ** (quantizer.config.bits - 1)
            step = max(-low.item(), high.item()) / (half - 1)
            quantizer.set_range(-half * step, (half - 1) * step)


def variance(spec: RunSpec, ctx: Context) -> Values:
    """One pass over one draw; every calibrator asked at every number of images.

    `noise.*` is the SQNR of the logits on the first images scored, in dB.
    """
    import torch

    from qstudy.methods import simulate
    from qstudy.numerics.error import sqnr

    params = spec.params
    model = parent_network(spec, ctx)
    scores = Scores(spec, ctx)
    fp32 = scores.add("fp32", model)
    how = simulate.SimulateConfig(activation_bits=params["activation_bits"])
    simulated = simulate.simulate(model, how).eval()
    simulate.set_weight_ranges(simulated)
    asked = sorted({c["images"] for c in params["conditions"]})
    ranges = _ranges(simulated, torch.cat(calibration(spec, ctx)), asked, params)
    with ctx.progress(len(params["conditions"]), "variance") as step:
        for condition in params["conditions"]:
            for path, ends in ranges[label(condition)].items():
                simulated.get_submodule(path).set_range(*ends)
            name = label(condition)
            logits = scores.add(name, simulate.fixed(simulated))
            noise = sqnr(fp32, logits)
            scores.values[f"noise.{name}"] = Value(noise, "dB", "isa", tolerance=0.5)
            step(name)
    return scores.outcome()


def _ranges(
    simulated: Any, images: Any, asked: list[int], params: Any
) -> dict[str, dict[str, tuple[float, float]]]:
    """Condition -> path of a quantizer -> its range, from one pass over `images`."""
    import torch

    from qstudy.methods import simulate
    from qstudy.methods.simulate.ranges import _calibrator

    found = {
        path: quantizer
        for path, quantizer in simulate.quantizers(simulated).items()
        if not path.endswith(".weight_quantizer")
    }
    kinds = {}
    for condition in params["conditions"]:
        options = {k: condition[k] for k in ("percentile",) if k in condition}
        kinds[label({k: v for k, v in condition.items() if k != "images"})] = (
            condition["calibrator"],
            options,
        )
    seen = {
        (kind, path): _calibrator(observer, quantizer.config.bits, options)
        for kind, (observer, options) in kinds.items()
        for path, quantizer in found.items()
    }

    def watch(path: str) -> Any:
        def hook(_: Any, arguments: tuple) -> None:
            for kind in kinds:
                seen[kind, path].update(arguments[0])

        return hook

    hooks = [q.register_forward_pre_hook(watch(path)) for path, q in found.items()]
    made: dict[str, dict[str, tuple[float, float]]] = {}
    start = 0
    try:
        with simulate.in_float(simulated), torch.no_grad():
            for end in (e for e in asked if e <= len(images)):
                for first in range(start, end, 64):
                    simulated(images[first : min(first + 64, end)])
                start = end
                for kind in kinds:
                    made[f"{kind}-{end}"] = {p: seen[kind, p].range() for p in found}
    finally:
        for hook in hooks:
            hook.remove()
    return made


def clips(spec: RunSpec, ctx: Context) -> Values:
    """Histograms of a few activations, and where each calibrator would clip them.

    `counts` is int64 (layers, bins) of magnitudes; `clip.C@L` is calibrator C's range's
    upper end at layer L, in the unit of the activation.
    """
    import numpy as np
    import torch

    from qstudy.methods import simulate
    from qstudy.methods.simulate.ranges import _calibrator
    from qstudy.numerics.histogram import MagnitudeHistogram

    params = spec.params
    model, batches = parent_network(spec, ctx), calibration(spec, ctx)
    simulated = simulate.simulate(model, simulate.SimulateConfig()).eval()
    named = {q.name: q for q in simulate.quantizers(simulated).values()}
    values: dict[str, Value] = {}
    counts = []
    for layer in params["layers"]:
        if layer not in named:
            raise ValueError(f"layer {layer!r} is not one of {tuple(named)}")
        shown: list[Any] = []
        hook = named[layer].register_forward_pre_hook(
            lambda _, arguments, kept=shown: kept.append(arguments[0])
        )
        with simulate.in_float(simulated), torch.no_grad():
            for batch in batches:
                simulated(batch)
        hook.remove()
        histogram = MagnitudeHistogram(bins=params["bins"])
        made = {}
        for condition in params["conditions"]:
            options = {k: condition[k] for k in ("percentile",) if k in condition}
            made[label(condition)] = _calibrator(
                condition["calibrator"], params["bits"], options
            )
        for batch in shown:
            histogram.add(batch)
            for calibrator in made.values():
                calibrator.update(batch)
        counts.append(histogram.counts.numpy())
        values[f"width.{layer}"] = Value(histogram.width, "", "isa", tolerance=0.0)
        for name, calibrator in made.items():
            high = calibrator.range()[1]
            values[f"clip.{name}@{layer}"] = Value(high, "", "isa", tolerance=0.05)
    return Values(values, arrays={"counts": np.stack(counts)})
