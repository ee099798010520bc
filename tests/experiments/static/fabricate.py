"""Records of every sweep as a run would leave them, for tests of tables and figures."""

import numpy as np

from qstudy.experiments.static import grid_sweeps
from qstudy.experiments.static.grid_sweeps import label
from qstudy.experiments.static.tables_parts import names
from qstudy.spec import Value, Values
from tests.experiments.records import record

LAYERS = ("conv1", "stage1.0.conv1", "fc")
KERNELS = ("input", "conv1", "stage1.0.conv1", "fc")
IMAGES = 1000


def sweep(spec, lost=lambda name: 10):
    """The record of `spec`: fp32 right about 900 of 1000, others about `lost` fewer."""
    task = spec.params["task"]
    if task == "depth":
        return record(spec, Values(_depth()))
    if task == "clips":
        return _clips(spec)
    told = {"layers": Value(" ".join(LAYERS), "text", "exact")}
    for ranking in grid_sweeps.ORDERS:
        told[f"order.{ranking}"] = Value(" ".join(LAYERS), "text", "exact")
    of = names(record(spec, Values(told)))
    rights = [900 - (0 if name == "fp32" else lost(name)) for name in of]
    for name, right in zip(of, rights, strict=True):
        top1 = 100 * right / IMAGES
        told[f"top1.{name}"] = Value(top1, "%", "isa", top1 - 2, top1 + 2, 0.5)
        told[f"loss.{name}"] = Value(1 - right / IMAGES, "nat", "isa", tolerance=0.05)
        told[f"agree.{name}"] = Value(99.0, "%", "isa", tolerance=0.5)
        told[f"cpu.{name}"] = Value(60.0, "s", "timing", 60.0, 60.0)
        told[f"noise.{name}"] = Value(20.0, "dB", "isa", tolerance=0.5)
    for place, layer in enumerate(LAYERS):
        told[f"noise.{layer}"] = Value(20.0 + place, "dB", "isa", tolerance=0.5)
    correct = np.stack([np.uint8(np.arange(IMAGES) < right) for right in rights])
    return record(spec, Values(told, arrays={"correct": correct}))


def sweeps(lost=lambda name: 10):
    """A record of each sweep that the chapter runs."""
    return [sweep(spec, lost) for spec in grid_sweeps.second()]


def _depth():
    return {
        f"{place:02d}.{kernel}.{form}": Value(40.0 - place, "dB", "isa", tolerance=0.5)
        for place, kernel in enumerate(KERNELS)
        for form in ("simulated", "converted")
    }


def _clips(spec):
    params = spec.params
    told = {}
    for layer in params["layers"]:
        told[f"width.{layer}"] = Value(0.125, "", "isa", tolerance=0.0)
        for place, condition in enumerate(params["conditions"]):
            # All but one nearly alike, as real ones are.
            clip = 3.0 + 0.01 * place + (9.0 if place == 0 else 0.0)
            name = f"clip.{label(condition)}@{layer}"
            told[name] = Value(clip, "", "isa", tolerance=0.05)
    shape = (len(params["layers"]), params["bins"])
    counts = np.broadcast_to(2 ** (20 - np.arange(shape[1]) // 8), shape)
    return record(spec, Values(told, arrays={"counts": counts.astype(np.int64)}))
