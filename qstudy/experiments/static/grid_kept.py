"""Layers back in fp32 and what they take: accuracy and latency of the same sets.

An order says which layer goes back first. Those here are choices, made on held-out
images of the dev network at W4A4 and published: the two rankings by the first draw of
`sensitivity`, the greedy one by `partial`, which searched four layers deep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qstudy.experiments import baselines
from qstudy.experiments.static.grid_sweeps import NAME, ORDERS, VERSION, sweep_spec
from qstudy.spec import RunSpec

CHOSEN: dict[str, tuple[str, ...]] = {
    "leave_one_out": (
        *("conv1", "stage1.0.conv1", "stage2.0.conv1", "stage1.2.conv1"),
        *("stage3.0.conv2", "stage2.0.shortcut.0", "stage1.1.conv1", "stage2.2.conv1"),
    ),
    "noise": (
        *("conv1", "fc", "stage3.2.conv1", "stage1.0.conv1"),
        *("stage2.0.conv1", "stage2.0.shortcut.0", "stage3.0.conv2", "stage3.1.conv1"),
    ),
    "greedy": ("conv1", "stage1.0.conv1", "stage3.2.conv1", "stage2.0.conv1"),
}
COUNTS = (1, 2, 4, 8)
# Four bits, where layers matter, and eight, which engines have kernels for.
BITS = (4, 8)
NONE, EVERY = "none", "every"
FP32 = ("fp32:eager", "fp32:channels_last_fused", "fp32:compiled")


def sets(params: Mapping[str, Any]) -> dict[str, tuple[str, ...] | None]:
    """Name -> the layers kept in fp32, no two alike; None stands for every layer.

    The name is that of the first order that has the set: ORDER-COUNT.
    """
    found: dict[str, tuple[str, ...] | None] = {NONE: ()}
    for order, count, layers in _prefixes(params):
        if layers not in found.values():
            found[f"{order}-{count}"] = layers
    return found | {EVERY: None}


def places(params: Mapping[str, Any]) -> list[tuple[str, int | None, str]]:
    """(order, layers kept, name of the set), none first and every layer last.

    How many every layer is depends on the network: None.
    """
    names = {layers: name for name, layers in sets(params).items()}
    middle = [(order, n, names[layers]) for order, n, layers in _prefixes(params)]
    return [(NONE, 0, NONE), *middle, (EVERY, None, EVERY)]


def _prefixes(params: Mapping[str, Any]) -> list[tuple[str, int, tuple[str, ...]]]:
    """(order, count, its first layers, sorted); in the order of ORDERS.

    A record on disk does not keep the order of a dictionary.
    """
    return [
        (order, count, tuple(sorted(params["orders"][order][:count])))
        for order in ORDERS
        if order in params["orders"]
        for count in params["counts"]
        if count <= len(params["orders"][order])
    ]


def names(params: Mapping[str, Any]) -> list[str]:
    """Whose answers the rows of the record are: fp32's, then wBITS.SET's."""
    of = sets(params)
    return ["fp32", *(f"w{bits}.{name}" for bits in params["bits"] for name in of)]


def kept(
    parent: RunSpec,
    *,
    orders: Mapping[str, Sequence[str]] = CHOSEN,
    counts: Sequence[int] = COUNTS,
    ranked_images: int = 1000,
    **params: Any,
) -> RunSpec:
    """Top-1 of every set, simulated in 4 bits and in an engine's kernels in 8.

    The first `ranked_images`, which the orders were made by, are not scored.
    """
    return sweep_spec(
        "kept",
        parent,
        orders={name: list(order) for name, order in orders.items()},
        counts=list(counts),
        bits=list(BITS),
        engine="x86",
        ranked_images=ranked_images,
        **params,
    )


def kept_latency(
    parent: RunSpec,
    *,
    threads: int,
    orders: Mapping[str, Sequence[str]] = CHOSEN,
    counts: Sequence[int] = COUNTS,
    fp32: Sequence[str] = FP32,
    **params: Any,
) -> RunSpec:
    """Time of one image through every set in 8 bits, and through fp32 networks."""
    about = {
        "orders": {name: list(order) for name, order in orders.items()},
        "counts": list(counts),
    }
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        params={
            "task": "kept_latency",
            "model": parent.params["model"],
            "dataset": parent.params["dataset"],
            "parent": parent.as_dict(),
            "batch": 1,
            "threads": threads,
            "engine": "x86",
            **about,
            "candidates": [*(f"int8:{name}" for name in sets(about)), *fp32],
            "processes": 8,
            "rounds": 100,
            "seconds": 3.0,
            "warmup_seconds": 0.4,
            **params,
        },
    )


def specs() -> list[RunSpec]:
    """Of the dev network, whose layers were ordered: accuracy, then two timings."""
    parent = baselines.dev("resnet20")
    timed = [kept_latency(parent, threads=threads) for threads in (1, 2)]
    return [kept(parent), *timed]


def smoke() -> list[RunSpec]:
    """The same on generated images, two orders of a small network, nothing compiled."""
    parent = baselines.smoke()
    few = {
        "orders": {"leave_one_out": ["conv1"], "greedy": ["conv1", "fc"]},
        "counts": [1, 2],
    }
    scored = {"ranked_images": 50, "scored_images": 50}
    quick = {"processes": 1, "rounds": 3, "seconds": 0.3, "warmup_seconds": 0.1}
    return [
        kept(parent, **few, **scored, calibration_images=32),
        kept_latency(parent, threads=1, **few, fp32=["fp32:eager"], **quick),
    ]
