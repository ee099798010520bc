"""A tiny experiment with the real interface, for tests of the study room.

`slow` makes each run long enough to be killed inside; a run with a parent adds one to
the number that the parent's checkpoint holds.
"""

import time

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from qstudy.report.figures import Figure
from qstudy.report.style import new_figure
from qstudy.spec import Number, RunSpec, Value, Values

NAME = "toy"
VERSION = 1
PARAMETERS = {"slow": 0.0, "extra": 0}


def spec(number, *, seed=0, slow=0.0, parent=None):
    params = {"task": "draw", "number": number, "slow": slow}
    if number in (6, 7):  # two runs that a parameter of their own decides
        params["extra"] = 0
    if parent is not None:
        params["parent"] = parent.as_dict()
    return RunSpec(experiment=NAME, version=VERSION, params=params, seed=seed)


def grid(mode):
    first = spec(0)
    return [first, spec(1, parent=first)] + [spec(n) for n in range(2, 8)]


def run(spec, ctx):
    rng = np.random.default_rng((spec.seed, spec.params["number"]))
    start = 0.0
    if "parent" in spec.params:
        parent = ctx.checkpoint(RunSpec.from_dict(spec.params["parent"]))
        start = float(load_file(parent)["weight"][0]) + 1.0
    with ctx.progress(3, "toy") as step:
        for _ in range(3):
            time.sleep(spec.params["slow"] / 3)
            step("")
    ctx.resume.mkdir(parents=True, exist_ok=True)
    checkpoint = ctx.resume / "c.safetensors"
    save_file({"weight": np.array([start + 1.0])}, checkpoint)
    return Values(
        values={
            "count": Value(int(rng.integers(1000)), "count", "exact"),
            "start": Value(start, "", "exact"),
            "top1": Value(90.0 + float(rng.random()), "%", "isa", tolerance=0.5),
            "ratio": Value(2.0, "ratio", "timing", 1.8, 2.2),
            "ms": Value(float(rng.random()), "ms", "timing"),
        },
        arrays={"predictions": rng.integers(0, 10, 50).astype(np.uint8)},
        checkpoint=checkpoint,
        checkpoint_name=f"toy-{spec.params['number']}-s{spec.seed}.safetensors",
    )


def tables(records):
    rows = [
        {
            "number": r.spec.params["number"],
            "seed": r.spec.seed,
            "count": r["count"],
            "top1": r["top1"],
            "origin": r.origin,
            "run": r.spec.key,
        }
        for r in records
    ]
    frame = pd.DataFrame(rows).sort_values(["number", "seed"], ignore_index=True)
    return {"toy.csv": frame}


def figures(tables):
    frame = tables["toy.csv"]
    figure, axis = new_figure()
    axis.plot(frame.number, frame.top1)
    yield Figure(
        name="toy", figure=figure, data=frame, alt="A toy line.", caption="Toy."
    )


def numbers(tables):
    row = tables["toy.csv"].iloc[0]
    return {
        "toy.first.top1": Number(float(row.top1), "%", 2, runs=(row.run,)),
        "toy.first.count": Number(int(row["count"]), "", 0, runs=(row.run,)),
    }
