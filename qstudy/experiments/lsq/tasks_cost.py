"""One training step with learned steps, and without rounding: its time and memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from qstudy.experiments import timing
from qstudy.experiments.lsq.recipe import FINE_TUNING, PAPER, WIDTHS
from qstudy.measure import latency
from qstudy.spec import Context, RunSpec, Value, Values


def cost(spec: RunSpec, ctx: Context) -> Values:
    """Milliseconds of a step of each candidate, and its ratio to three baselines.

    same: the unquantized step of the candidate's own precision and compiler setting;
    best_fp32 and best_bf16: the fastest unquantized step that was timed.
    """
    params = spec.params
    result = timing.measure(
        spec,
        ctx,
        factory=training_step,
        arguments={"model": params["model"], "width": params["width"]},
    )
    names = params["candidates"]
    pairs = [("same", same, name) for name in names if (same := alike(name)) in names]
    for precision in ("fp32", "bf16"):
        plain = [name for name in names if name.startswith(f"none:{precision}")]
        if plain:
            best = latency.fastest(result, plain, batch=params["batch"])
            pairs += [(f"best_{precision}", best, name) for name in names]
    return Values(values=timing.values(result, pairs))


def memory(spec: RunSpec, ctx: Context) -> Values:
    """peak/<candidate>: the most memory, MiB, of a process that makes a few steps.

    The whole process, so what PyTorch itself takes is in it. Each has its own.
    """
    params = spec.params
    told = {"model": params["model"], "width": params["width"]}
    told |= {"batch": params["batch"], "threads": params["threads"]}
    values = {}
    with ctx.progress(len(params["candidates"]), "memory of a step") as step:
        for name in params["candidates"]:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                peak = pool.submit(_peak, name=name, steps=params["steps"], **told)
                values[f"peak/{name}"] = Value(peak.result(), "MiB", "timing")
            step(name)
    return Values(values)


def _peak(*, name: str, steps: int, threads: int, **told: Any) -> float:
    from qstudy.measure import system

    with system.threads(threads):
        step = training_step(name=name, **told)
        for _ in range(steps):
            step()
    return system.peak_memory_mib()


def alike(candidate: str) -> str:
    """The unquantized candidate that is computed as `candidate` is."""
    return ":".join(["none", *candidate.split(":")[1:]])


def training_step(
    *, name: str, model: str, width: str, batch: int
) -> Callable[[], None]:
    """What a timing worker times: one update of `model`, computed as `name` says."""
    import torch

    from qstudy.methods import lsq
    from qstudy.methods.frozen import inductor_noise
    from qstudy.methods.simulate import LsqConfig, simulate
    from qstudy.models import zoo
    from qstudy.training.loop import train_step
    from qstudy.training.memory import keep_freed_memory
    from qstudy.training.recipe import Recipe
    from qstudy.training.updates import updates

    method, precision, *how = name.split(":")
    if "kept" in how and not keep_freed_memory():
        raise RuntimeError("only glibc can be told to keep freed memory")
    told = {"precision": precision, "compiled": "compiled" in how, "batch": batch}
    recipe = Recipe(**{**FINE_TUNING, **told})
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *zoo.input_shape(model), generator=generator)
    x = x.to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,), generator=generator)
    network: Any = zoo.build(model)
    if method != "none":
        network = simulate(network, LsqConfig(**{**PAPER, **WIDTHS[width]}))
        lsq.start(network, x)
    if method == "native":
        use_native(network)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = updates(network, recipe)
    forward = torch.compile(network) if recipe.compiled else network

    def step() -> None:
        with inductor_noise():
            train_step(forward, optimizer, x, y, recipe=recipe)

    return step


def use_native(simulated: Any) -> None:
    """Put torch's own learnable fake quantizer in the place of each learned one."""
    import torch
    from torch import nn

    from qstudy.methods.lsq import learned

    class Native(nn.Module):
        def __init__(self, quantizer: Any) -> None:
            super().__init__()
            codes = quantizer.config.codes
            self.ends = (codes.low, codes.high)
            self.step = nn.Parameter(quantizer.scale().detach().reshape(1))
            self.zero_point = nn.Parameter(torch.zeros(1), requires_grad=False)
            self.weighed = quantizer.gradient_scale

        def forward(self, x: Any) -> Any:
            return torch._fake_quantize_learnable_per_tensor_affine(
                x.float(), self.step, self.zero_point, *self.ends, self.weighed(x)
            ).to(x.dtype)

    for path, quantizer in learned(simulated).items():
        simulated.set_submodule(path, Native(quantizer))
