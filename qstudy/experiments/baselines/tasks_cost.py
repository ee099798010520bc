"""Time one training step in each precision and memory layout."""

from __future__ import annotations

from collections.abc import Callable

from qstudy.experiments import timing
from qstudy.experiments.baselines.grid import BASELINE
from qstudy.experiments.baselines.recipe import CHOSEN, CONDITIONS
from qstudy.spec import Context, RunSpec, Values


def cost(spec: RunSpec, ctx: Context) -> Values:
    """Milliseconds of one step of each candidate, and its ratio to BASELINE."""
    result = timing.measure(
        spec, ctx, factory=training_step, arguments={"model": spec.params["model"]}
    )
    pairs = [(BASELINE, BASELINE, name) for name in spec.params["candidates"]]
    return Values(values=timing.values(result, pairs))


def training_step(*, name: str, model: str, batch: int) -> Callable[[], None]:
    """What a timing worker times: one update of `model`, computed as `name` says."""
    import torch

    from qstudy.models import zoo
    from qstudy.training.loop import train_step
    from qstudy.training.memory import keep_freed_memory
    from qstudy.training.recipe import Recipe
    from qstudy.training.updates import updates

    precision, layout, *how = name.split(":")
    if "kept" in how and not keep_freed_memory():
        raise RuntimeError("only glibc can be told to keep freed memory")
    recipe = Recipe(
        precision=precision,
        compiled="compiled" in how,
        batch=batch,
        **(CONDITIONS[CHOSEN] if "muon" in how else {}),
    )
    memory = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
    network = zoo.build(model).to(memory_format=memory).train()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *zoo.input_shape(model), generator=generator)
    x = x.to(memory_format=memory)
    y = torch.randint(0, 10, (batch,), generator=generator)
    optimizer = updates(network, recipe)
    forward = torch.compile(network) if recipe.compiled else network

    def step() -> None:
        train_step(forward, optimizer, x, y, recipe=recipe)

    return step
