"""What every sweep does: score fp32 and each condition on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from qstudy.experiments.evaluation import calibration_batches, parent_network
from qstudy.experiments.static.grid_sweeps import label
from qstudy.spec import Context, RunSpec, Value, Values

# Kernels of another generation of processors round differently near ties; at 4 bits a
# tie decides more.
TOLERANCE = 0.5


class Scores:
    """Which images each network was right about, and its values, as they come."""

    def __init__(self, spec: RunSpec, ctx: Context, *, skip: int = 0) -> None:
        params = spec.params
        images, labels = ctx.images(params["dataset"], params["scored_on"])
        count = params.get("scored_images", len(images) - skip)
        self.images = images[skip : skip + count]
        self.labels = labels[skip : skip + count]
        self.values: dict[str, Value] = {}
        self.names: list[str] = []
        self.correct: list[np.ndarray] = []
        self.predictions: list[np.ndarray] = []

    def add(self, name: str, network: Callable) -> Any:
        """Score `network` under `name`; its logits."""
        from qstudy.measure import accuracy
        from qstudy.training.loop import predict

        logits = predict(network, self.images)
        found = accuracy.classes(logits)
        top1 = accuracy.top1(found, self.labels)
        self.values[f"top1.{name}"] = Value(
            top1.value, "%", "isa", top1.low, top1.high, TOLERANCE
        )
        self.names.append(name)
        self.predictions.append(found)
        self.correct.append(accuracy.correct(found, self.labels).astype(np.uint8))
        return logits

    def outcome(self, **more: Value) -> Values:
        """The record: `correct` and `predictions` are uint8 (conditions, images)."""
        arrays = {
            "correct": np.stack(self.correct),
            "predictions": np.stack(self.predictions),
        }
        return Values({**self.values, **more}, arrays=arrays)


def calibration(spec: RunSpec, ctx: Context) -> list:
    """The calibration batches of `spec`, drawn by its seed from what trained it."""
    parent = RunSpec.from_dict(spec.params["parent"])
    images, _ = ctx.images(spec.params["dataset"], parent.params["split"])
    count = min(spec.params["calibration_images"], len(images))
    return calibration_batches(images, count=count, draw=spec.seed)


def sweep(
    spec: RunSpec,
    ctx: Context,
    network: Callable[[dict[str, Any], Any, list], Any],
) -> Scores:
    """fp32 and, for each condition, the network that `network` makes of it.

    It is called with the condition, the fp32 network and the calibration batches.
    """
    scores = Scores(spec, ctx)
    model, batches = parent_network(spec, ctx), calibration(spec, ctx)
    conditions: Iterable[dict[str, Any]] = spec.params["conditions"]
    scores.add("fp32", model)
    with ctx.progress(len(spec.params["conditions"]), spec.params["task"]) as step:
        for condition in conditions:
            scores.add(label(condition), network(dict(condition), model, batches))
            step(label(condition))
    return scores
