"""What several chapters do with one network: read it, calibrate it, score it.

Everything a run reads comes through its context, which notes it. torch comes inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qstudy.spec import Context, RunSpec, Value


def child_spec(
    parent: RunSpec,
    task: str,
    *,
    name: str,
    version: int,
    seed: int | None = None,
    **params: Any,
) -> RunSpec:
    """A run of experiment `name` on `parent`'s network and data, on one thread.

    The seed is the parent's, unless another is given; `params` add to what is taken
    over and override it.
    """
    about = parent.params
    return RunSpec(
        experiment=name,
        version=version,
        seed=parent.seed if seed is None else seed,
        params={
            "task": task,
            "model": about["model"],
            "dataset": about["dataset"],
            "split": about["split"],
            "scored_on": about.get("scored_on", "test"),
            "parent": parent.as_dict(),
            "threads": 1,
            **params,
        },
    )


def parent_network(spec: RunSpec, ctx: Context) -> Any:
    """The network of the run that `spec` starts from, in eval mode."""
    from qstudy.models import zoo

    model = zoo.build(spec.params["model"])
    parent = RunSpec.from_dict(spec.params["parent"])
    zoo.load_checkpoint(model, ctx.checkpoint(parent))
    return model.eval()


def calibration_batches(images: np.ndarray, *, count: int, draw: int) -> list:
    """`count` training images drawn without replacement, in batches of 64."""
    from qstudy.training.batches import normalise

    if not 1 <= count <= len(images):
        raise ValueError(f"calibration_images {count} is outside 1 to {len(images)}")
    chosen = np.random.default_rng((draw, 2022)).choice(
        len(images), size=count, replace=False
    )
    return [
        normalise(images[chosen[start : start + 64]]) for start in range(0, count, 64)
    ]


def scored(
    model: Any,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    kind: str,
    tolerance: float | None = None,
) -> tuple[Value, dict[str, np.ndarray]]:
    """Top-1 of `model` in percent, and what a paired test needs of each image.

    `kind` and `tolerance` are those of the Value. The arrays are `predictions` and
    `correct`, uint8 (N,).
    """
    from qstudy.measure import accuracy
    from qstudy.training.loop import predict

    predictions = accuracy.classes(predict(model, images))
    top1 = accuracy.top1(predictions, labels)
    correct = accuracy.correct(predictions, labels).astype(np.uint8)
    return (
        Value(top1.value, "%", kind, top1.low, top1.high, tolerance),
        {"predictions": predictions, "correct": correct},
    )
