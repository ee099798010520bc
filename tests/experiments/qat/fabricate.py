"""Records of every kind of QAT run, with figures that a test can reckon with."""

import numpy as np

from qstudy.experiments import timing
from qstudy.experiments.qat.recipe import COST_BASELINES
from qstudy.measure.latency import LatencyResult
from qstudy.spec import Value, Values
from tests.experiments.records import record

N = 1000
KERNELS = {
    "x": "other",
    "conv1.output": "layer",
    "pool": "average",
    "fc.output": "layer",
}


def scored(spec, right, *, n=N):
    """The record of a run that is right about the first `right` of `n` images."""
    correct = np.uint8(np.arange(n) < right)
    top1 = 100 * right / n
    values = {"top1": Value(top1, "%", "stochastic", top1 - 1, min(100, top1 + 1))}
    if "recipe" in spec.params:
        values["loss"] = Value(0.1, "nat", "stochastic")
    return record(spec, Values(values, arrays={"correct": correct}))


def compared(spec, *, differ=1, alone=0.01, tie=1e-6, free=0.2):
    """The record of a gap: `differ` predictions, codes of conv1 by `alone` percent."""
    values = {"top1/simulated": Value(92.0, "%", "isa", 91.0, 93.0, 0.3)}
    for form in spec.params["forms"]:
        values[f"top1/{form}"] = Value(91.9, "%", "isa", 91.0, 93.0, 0.3)
        values[f"differ/{form}"] = Value(differ, "count", "isa", tolerance=N)
        if differ:
            values[f"margin/{form}"] = Value(1.5, "step", "isa", tolerance=255)
            values[f"begins/{form}/conv1.output"] = Value(
                differ, "count", "isa", tolerance=differ
            )
        for number, (name, computed) in enumerate(KERNELS.items()):
            own = alone if name == "conv1.output" else 0.0
            shown = {"free": free * number / 3, "alone": own}
            for how, share in shown.items():
                values[f"{how}/{form}/{name}"] = Value(share, "%", "isa", tolerance=100)
            if own:
                values[f"tie/{form}/{name}"] = Value(tie, "step", "isa", tolerance=0.5)
            values[f"number/{name}"] = Value(number, "count", "exact")
            values[f"computed/{name}"] = Value(computed, "text", "exact")
            values[f"clipped/{name}"] = Value(0, "count", "exact")
    correct = np.uint8(np.arange(N) < 920)
    return record(spec, Values(values, arrays={"correct": correct}))


def timed(spec, ms):
    """The record of a cost run: `ms` by candidate, the same in each process."""
    batch = spec.params["batch"]
    result = LatencyResult(
        {name: {batch: (float(ms[name]),) * 5} for name in spec.params["candidates"]}
    )
    pairs = [
        (COST_BASELINES[name], COST_BASELINES[name], name)
        for name in spec.params["candidates"]
    ]
    return record(spec, Values(timing.values(result, pairs)))
