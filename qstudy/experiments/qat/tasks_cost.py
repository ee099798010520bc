"""Time one training step: unquantized, with this study's rounding, with PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qstudy.experiments import timing
from qstudy.experiments.qat.recipe import COST_BASELINES, SIMULATION, WIDTHS
from qstudy.spec import Context, RunSpec, Values


def cost(spec: RunSpec, ctx: Context) -> Values:
    """Milliseconds of one step of each candidate, and its ratio to the unquantized one.

    A ratio is baseline time over candidate time; a cost is its inverse.
    """
    params = spec.params
    result = timing.measure(
        spec, ctx, factory=training_step, arguments={"model": params["model"]}
    )
    pairs = [
        (COST_BASELINES[name], COST_BASELINES[name], name)
        for name in params["candidates"]
    ]
    return Values(values=timing.values(result, pairs))


def training_step(*, name: str, model: str, batch: int) -> Callable[[], None]:
    """What a timing worker times: one update of `model`, computed as `name` says.

    `name` is "method:precision", and ":compiled" where the step is; the method is
    "fp32" (nothing rounded), "qat-w8a8", "qat-w4a4" (this study's), "torch_eager" or
    "torch_pt2e" (PyTorch's own two, 8 bits).
    """
    import torch

    from qstudy.models import zoo
    from qstudy.training.loop import train_step
    from qstudy.training.memory import keep_freed_memory
    from qstudy.training.recipe import Recipe
    from qstudy.training.updates import updates

    method, precision, *how = name.split(":")
    keep_freed_memory()  # as the training loop does
    recipe = Recipe(
        precision=precision, compiled="compiled" in how, batch=batch, peak_lr=0.001
    )
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *zoo.input_shape(model), generator=generator)
    x = x.to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,), generator=generator)
    network = _prepared(zoo.build(model), method, x)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = updates(network, recipe)
    forward = torch.compile(network) if recipe.compiled else network

    def step() -> None:
        train_step(forward, optimizer, x, y, recipe=recipe)

    return step


def _prepared(network: Any, method: str, x: Any) -> Any:
    """`network` with the fake-quantizers of `method`, its ranges set where needed."""
    from qstudy.methods import simulate, torch_qat

    sort, _, width = method.partition("-")
    if sort == "qat":
        config = simulate.SimulateConfig(**SIMULATION, **WIDTHS[width])
        made = simulate.simulate(network.eval(), config)
        simulate.calibrate(made, [x[:8].contiguous()], observer="minmax")
        return made
    if method.startswith("torch_"):
        route = method.removeprefix("torch_")
        return torch_qat.prepare(network, x[:2].contiguous(), route=route)
    if method != "fp32":
        raise ValueError(f"method {method!r} is not fp32, qat-<width> or torch_<route>")
    return network
