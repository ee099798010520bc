"""The tasks of the formulas chapter that compare integers with other people's kernels.

operators, overflow and executor: see qstudy.experiments.formulas. `isa` and `short`
are how its tasks give a value that rests on one instruction set.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from qstudy.experiments.evaluation import calibration_batches, parent_network
from qstudy.spec import Context, RunSpec, Value, Values

# The 36 pairs of places in a kernel of three by three.
TAP_PAIRS = tuple(itertools.combinations(range(9), 2))


def isa(value: float, unit: str, tolerance: float) -> Value:
    """A value that must be equal on one ISA class, within `tolerance` across them."""
    return Value(value, unit, "isa", tolerance=tolerance)


def short(value: float) -> float:
    """6 significant digits: what follows differs between two builds of one library."""
    return float(f"{min(max(value, -999.0), 1e9):.6g}")


def operators_task(spec: RunSpec, ctx: Context) -> Values:
    """Count where our integers and one engine's differ, for each operator and input."""
    from qstudy.methods import engines
    from qstudy.methods.engines import operators

    engine, values = spec.params["engine"], {}
    trials = [
        (f"{operator}/{inputs}/8", operator, inputs, 8)
        for operator in operators.OPERATORS
        for inputs in operators.INPUTS
    ]
    # Whether 16-bit sums are what differs is seen by giving them room.
    trials += [
        (f"conv2d_depthwise/{inputs}/7", "conv2d_depthwise", inputs, 7)
        for inputs in operators.INPUTS
    ]
    with ctx.progress(len(trials), engine) as step:
        for key, operator, inputs, bits in trials:
            counted = differing = largest = 0
            for seed in range(spec.params["cases"]):
                case = operators.make_case(
                    operator, inputs, seed=seed, activation_bits=bits
                )
                theirs = engines.run(case, engine=engine)
                off = (operators.answer(case, engine=engine) - theirs).abs()
                counted += off.numel()
                differing += int((off > 0).sum())
                largest = max(largest, int(off.max()))
            values[f"{key}/n"] = Value(counted, "count", "exact")
            values[f"{key}/differing"] = isa(differing, "count", counted)
            values[f"{key}/largest"] = isa(largest, "code", 255)
            step("")
    return Values(values)


def overflow_task(spec: RunSpec, ctx: Context) -> Values:
    """211 * 71 + 171 * 107 = 33,278 > 32,767 (pytorch issue 44939): who saturates?

    Scales are 1 and the output's is 256, so the code tells the sum.
    """
    import torch

    from qstudy.methods import engines
    from qstudy.methods.engines import operators
    from qstudy.numerics.elementwise import Affine

    inputs, taps = (211, 171), (71, 107)
    total = sum(a * b for a, b in zip(inputs, taps, strict=True))
    values = {"exact_sum": Value(total, "count", "exact")}
    # Which products share a 16-bit sum is the kernel's own affair: all pairs are tried.
    pairs = {"linear": [(0, 1)], "conv2d": TAP_PAIRS, "conv2d_depthwise": TAP_PAIRS}
    for operator, places in pairs.items():
        cases = [
            _two_taps(operator, inputs, taps, pair, Affine(1.0, 0), Affine(256.0, 0))
            for pair in places
        ]
        expected = {int(operators.answer(c, engine="fbgemm").max()) for c in cases}
        values[f"{operator}/expected"] = Value(min(expected), "code", "exact")
        for engine in engines.available():
            found = [int(engines.run(c, engine=engine).max()) for c in cases]
            values[f"{operator}/{engine}/smallest"] = isa(min(found), "code", 130)
            less = sum(code not in expected for code in found)
            values[f"{operator}/{engine}/saturating"] = isa(less, "count", 36)
        values[f"{operator}/cases"] = Value(len(cases), "count", "exact")
    saturated = torch.tensor(32767 / 256).round()
    values["saturated"] = Value(int(saturated), "code", "exact")
    return Values(values)


def _two_taps(
    operator: str, inputs: tuple, taps: tuple, places: tuple, start: Any, end: Any
) -> Any:
    """A case with two products: in the first channel, at two places of the kernel."""
    import torch

    from qstudy.methods.engines.operators import Case

    channels = 32
    if operator == "linear":
        x = torch.zeros(1, channels, dtype=torch.uint8)
        weight = torch.zeros(channels, channels, dtype=torch.int8)
        for place, code, tap in zip(places, inputs, taps, strict=True):
            x[0, place], weight[0, place] = code, tap
    else:
        width = 1 if operator == "conv2d_depthwise" else channels
        x = torch.zeros(1, channels, 8, 8, dtype=torch.uint8)
        weight = torch.zeros(channels, width, 3, 3, dtype=torch.int8)
        for place, code, tap in zip(places, inputs, taps, strict=True):
            row, column = divmod(place, 3)
            x[0, 0, 3 + row, 3 + column] = code
            weight[0, 0, row, column] = tap
    ones, zeros = torch.ones(channels), torch.zeros(channels)
    return Case(operator, x, start, end, None, None, weight, ones, zeros)


def executor_task(spec: RunSpec, ctx: Context) -> Values:
    """One quantized network by an engine, by our float32, and by integers alone."""
    import torch

    from qstudy.measure import accuracy
    from qstudy.methods import integer, static
    from qstudy.methods.integer import arithmetic
    from qstudy.training.batches import normalise

    params = spec.params
    parent = RunSpec.from_dict(params["parent"])
    model = parent_network(spec, ctx)
    training, _ = ctx.images(params["dataset"], parent.params["split"])
    images, labels = ctx.images(params["dataset"], "test")
    count = params["images"]
    if not 1 <= count <= len(images):
        raise ValueError(f"images {count} is outside 1 to {len(images)}")
    images, labels = images[:count], labels[:count]
    batches = calibration_batches(
        training, count=params["calibration_images"], draw=spec.seed
    )
    config = static.StaticConfig(
        engine=params["engine"], activation_bits=params["activation_bits"]
    )
    quantized = static.quantize_static(model, batches, config)
    network = integer.read_integers(quantized)
    double = arithmetic.FixedPoint.of(network.layers, rounding="double")
    beside = arithmetic.SideBySide(arithmetic.EngineFloat32(params["engine"]), double)
    arithmetics = {
        "float32": beside,
        "double": double,
        "single": arithmetic.FixedPoint.of(network.layers, rounding="single"),
    }
    classes: dict[str, list] = {name: [] for name in ("engine", *arithmetics)}
    other_logits, off = 0, {}
    # Small batches: what one layer needs then stays in the cache.
    steps = range(0, count, 125)
    with ctx.progress(len(steps), f"{params['engine']} {count} images") as bar:
        for start in steps:
            x = normalise(images[start : start + 125])
            with torch.inference_mode():
                theirs = quantized(x)
            codes = integer.input_codes(network, x)
            shown: dict[str, list] = {}
            for name, arithmetic in arithmetics.items():
                shown[name] = []
                found = integer.predict_codes(
                    network, codes, arithmetic, observe=shown[name].append
                )
                if name == "float32":
                    ours = integer.logits(network, found)
                    other_logits += int((ours != theirs).any(1).sum())
                classes[name].append(accuracy.classes(found))
            classes["engine"].append(accuracy.classes(theirs))
            for name in ("double", "single"):
                pairs = zip(shown[name], shown["float32"], strict=True)
                for place, (a, b) in enumerate(pairs):
                    distance = (a - b).abs()
                    counts = off.setdefault((name, place), np.zeros(3))
                    counts += [
                        int((distance == 1).sum()),
                        int((distance > 1).sum()),
                        distance.numel(),
                    ]
            bar("")
    predicted = {name: np.concatenate(parts) for name, parts in classes.items()}
    values = {"other_logits": isa(other_logits, "count", count)}
    for name, found in predicted.items():
        top1 = accuracy.top1(found, labels)
        values[f"{name}/top1"] = Value(
            top1.value, "%", "isa", top1.low, top1.high, tolerance=0.3
        )
        changed = int((found != predicted["engine"]).sum())
        values[f"{name}/changed"] = isa(changed, "count", 0.02 * count)
    for (name, place), (one, more, total) in off.items():
        share = (short(100 * one / total), short(100 * more / total))
        values[f"{name}/off_by_one/{place}"] = isa(share[0], "%", 5.0)
        values[f"{name}/off_by_more/{place}"] = isa(share[1], "%", 5.0)
    for step, (one, more, total) in beside.counts.items():
        values[f"same_input/{step}/off_by_one"] = isa(
            short(100 * one / total), "%", 1.0
        )
        values[f"same_input/{step}/off_by_more"] = isa(
            short(100 * more / total), "%", 1.0
        )
    arrays = {
        f"correct_{name}": accuracy.correct(found, labels).astype(np.uint8)
        for name, found in predicted.items()
    }
    return Values(values, arrays=arrays)
