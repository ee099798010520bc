"""The runs of the speed chapter: routes, changes of them, the roofline, the map.

`first` is what answers the chapter's question, and `tried` what may make a route
faster; `compiled`, `batches` and `zoo` widen it. A measurement needs a machine of its
own, so each is a list that is run when there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qstudy.experiments import baselines
from qstudy.experiments.speed.recipe import (
    BATCHES,
    CANDIDATES,
    CROSSOVER_BATCHES,
    ENGINES,
    MODELS,
    QUICK,
    SHAPES,
    TEXT,
    TEXT_CANDIDATES,
    THREADS,
    TRIED,
    TRIED_COMPILED,
    ZOO,
    ZOO_CANDIDATES,
)
from qstudy.spec import RunSpec

NAME = "speed"
VERSION = 1
TRAINED = None  # it keeps no networks
PARAMETERS: dict[str, Any] = {}
_BRIEF = {"processes": 2, "rounds": 3, "seconds": 0.2, "warmup_seconds": 0.05}


def _spec(task: str, **params: Any) -> RunSpec:
    return RunSpec(experiment=NAME, version=VERSION, params={"task": task, **params})


def route_spec(
    model: str,
    *,
    batch: int,
    threads: int,
    task: str = "route",
    candidates: Sequence[str] = CANDIDATES,
    parent: RunSpec | None = None,
    **timing: Any,
) -> RunSpec:
    """Examine and time `model` along the routes `candidates`.

    `parent` is the run whose checkpoint it has; without, weights are from a seed.
    """
    return _spec(
        task,
        model=model,
        **({"parent": parent.as_dict()} if parent else {}),
        batch=batch,
        threads=threads,
        candidates=list(candidates),
        **{
            "processes": 5,
            "rounds": 40,
            "seconds": 6.0 if batch == 1 else 20.0,
            "warmup_seconds": 0.4 if batch == 1 else 1.5,
            **timing,
        },
    )


def roofline_spec(models: Sequence[str], *, threads: int, seconds: float) -> RunSpec:
    """This processor's peaks, and the work of every layer of `models`."""
    return _spec("roofline", models=list(models), threads=threads, seconds=seconds)


def crossover_spec(
    operator: str,
    *,
    batch: int,
    threads: int,
    shapes: Sequence[Sequence[int]] = (),
    **timing: Any,
) -> RunSpec:
    """One operator in fp32 and int8 over its SHAPES."""
    return _spec(
        "crossover",
        operator=operator,
        shapes=[list(shape) for shape in shapes or SHAPES[operator]],
        engines=list(ENGINES),
        batch=batch,
        threads=threads,
        **{
            "processes": 5,
            "rounds": 20,
            "seconds": 3.0,
            "warmup_seconds": 0.05,
            **timing,
        },
    )


def tried_spec(
    model: str,
    *,
    threads: int,
    candidates: Sequence[str] = TRIED,
    parent: RunSpec | None = None,
    **timing: Any,
) -> RunSpec:
    """Time routes of `model` as they are and changed, one image a call."""
    how = {"candidates": candidates, "parent": parent, **timing}
    return route_spec(model, batch=1, threads=threads, task="tried", **how)


def _of(model: str, **how: Any) -> RunSpec:
    return route_spec(model, parent=_parent(model), **how)


def _parent(model: str) -> RunSpec | None:
    return baselines.published() if model == "resnet20" else None


def quick() -> list[RunSpec]:
    """Two models along four routes, and one column of the map: a minute."""
    short = {"candidates": QUICK, "rounds": 20, "seconds": 1.5, "warmup_seconds": 0.3}
    column = [shape for shape in SHAPES["conv"] if shape[1] == 28]
    return [
        *(_of(m, batch=1, threads=1, **short) for m in ("resnet20", "mobilenet_v2")),
        crossover_spec("conv", batch=1, threads=1, shapes=column, seconds=2.0),
    ]


def first() -> list[RunSpec]:
    """What the chapter needs: three models at one image, the roofline, the map."""
    return [
        # Two threads first: the chapter's goals are of those.
        *(_of(m, batch=1, threads=t) for t in reversed(THREADS) for m in MODELS),
        *(roofline_spec(MODELS, threads=t, seconds=1.0) for t in THREADS),
        *(crossover_spec(operator, batch=1, threads=1) for operator in SHAPES),
        *quick(),
    ]


def batches() -> list[RunSpec]:
    """The same models at more images a call, two threads; the map at more, one."""
    return [
        *(_of(m, batch=b, threads=2) for m in MODELS for b in BATCHES if b > 1),
        *(
            crossover_spec(operator, batch=batch, threads=1)
            for operator, batch in CROSSOVER_BATCHES.items()
        ),
    ]


def tried(candidates: Sequence[str] = TRIED) -> list[RunSpec]:
    """What a change of a route brings where the goals are: two threads."""
    brief = {"rounds": 20, "seconds": 3.0}
    return [
        tried_spec(m, threads=2, candidates=candidates, parent=_parent(m), **brief)
        for m in MODELS
    ]


def compiled() -> list[RunSpec]:
    """What other calls between compiled kernels bring; compiling them takes long."""
    return tried(TRIED_COMPILED)


def zoo() -> list[RunSpec]:
    """What torchvision also offers quantized, and two networks of text, one input."""
    return [
        route_spec(model, batch=1, threads=t, task="zoo", candidates=routes, rounds=20)
        for models, routes in ((ZOO, ZOO_CANDIDATES), (TEXT, TEXT_CANDIDATES))
        for model in models
        for t in THREADS
    ]


def smoke() -> list[RunSpec]:
    """Every path in seconds, nothing compiled by inductor."""
    parent = baselines.smoke()
    few = ["fp32:eager", "bf16:eager", "int8:x86"]
    return [
        route_spec(
            "resnet8", batch=1, threads=1, parent=parent, candidates=few, **_BRIEF
        ),
        route_spec(
            "resnet8",
            batch=2,
            threads=1,
            task="zoo",
            parent=parent,
            candidates=few,
            **_BRIEF,
        ),
        tried_spec(
            "resnet8",
            threads=1,
            parent=parent,
            candidates=["int8:x86", "int8:x86+kept"],
            **_BRIEF,
        ),
        roofline_spec(["resnet8"], threads=1, seconds=0.02),
        crossover_spec("conv", batch=1, threads=1, shapes=[[8, 7], [16, 7]], **_BRIEF),
        crossover_spec("linear", batch=2, threads=1, shapes=[[16, 16]], **_BRIEF),
    ]


def grid(mode: str) -> list[RunSpec]:
    """full: what is published, which the lists that are left will widen."""
    return {"smoke": smoke(), "quick": quick(), "full": [*first(), *tried()]}[mode]
