"""The runs of the fusion chapter."""

from __future__ import annotations

from typing import Any

from qstudy.experiments import baselines
from qstudy.spec import RunSpec

NAME = "fusion"
VERSION = 1
# Whose published weights the ranges are read from: a name of qstudy.data.weights.
TRAINED = None  # it keeps no networks
PARAMETERS: dict[str, Any] = {"pretrained": "efficientnet_lite0"}
MODELS = ("resnet20", "resnet18", "mobilenet_v2")
VARIANTS = ("unfused", "fused")


def _spec(task: str, model: str, parent: RunSpec | None, **more: Any) -> RunSpec:
    # Threads are a parameter of every task: they decide the order of sums.
    params = {"task": task, "model": model, "threads": 2, **more}
    if parent is not None:
        params |= {"dataset": parent.params["dataset"], "parent": parent.as_dict()}
    return RunSpec(experiment=NAME, version=VERSION, params=params)


def _timing(model: str, parent: RunSpec | None, *, batch: int, **more: Any) -> RunSpec:
    common = {
        "batch": batch,
        "candidates": list(VARIANTS),
        "processes": 5,
        "rounds": 50,
        "seconds": 1.5 if batch == 1 else 6.0,
        "warmup_seconds": 1.0,
    }
    return _spec("latency", model, parent, **{**common, **more})


def grid(mode: str) -> list[RunSpec]:
    """quick: all that ResNet-20 needs but its timing at batch 64. full: all."""
    if mode == "smoke":
        parent = baselines.smoke()
        few = {"processes": 2, "rounds": 3, "seconds": 0.3, "warmup_seconds": 0.1}
        return [
            _spec("agreement", "resnet8", parent, threads=1),
            _spec("ranges", "resnet8", parent, threads=1),
            _spec("rounding", "resnet8", parent, threads=1),
            *(_timing("resnet8", parent, batch=b, threads=1, **few) for b in (1, 64)),
        ]
    parent = baselines.published()
    networks = [(m, parent if m == "resnet20" else None) for m in MODELS]
    quick = [_spec("agreement", *network) for network in networks]
    quick += [_spec("ranges", "resnet20", parent)]
    quick += [_spec("rounding", "resnet20", parent)]
    quick += [_timing("resnet20", parent, batch=1)]
    if mode == "quick":
        return quick
    quick += [_spec("ranges", "third-party", None, **PARAMETERS)]
    timings = [_timing(*network, batch=b) for network in networks for b in (1, 64)]
    return list(dict.fromkeys(quick + timings))
