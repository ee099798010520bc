"""Time the dynamic chapter's networks in each form; torch is imported inside."""

from __future__ import annotations

from typing import Any

from qstudy.experiments import timing
from qstudy.experiments.dynamic import forms, inputs
from qstudy.spec import Context, RunSpec, Values


def latency(spec: RunSpec, ctx: Context) -> Values:
    """Every candidate's time at every batch, and its ratios to the baselines."""
    params = spec.params
    weights = ""
    if params["model"] == "minilm":
        weights = str(ctx.pretrained("minilm"))
    elif "parent" in params and not inputs.is_encoder(params["model"]):
        weights = str(ctx.checkpoint(RunSpec.from_dict(params["parent"])))
    result = timing.measure(
        spec,
        ctx,
        factory=timed_forward,
        arguments={
            "model": params["model"],
            "weights": weights,
            "length": params["length"],
        },
    )
    return Values(values=timing.values(result, timing.against_baselines(result)))


def timed_forward(
    *, name: str, model: str, weights: str, length: int, batch: int
) -> Any:
    """What a timing worker times: one forward pass of candidate `name`.

    Weights do not change the time, so a network without a file keeps random ones.
    Sequences are `length` tokens; the MLP and the linear layers take `batch` rows.
    """
    import torch

    from qstudy.models import text

    network = text.build(model).eval()
    if weights:
        text.load_weights(network, weights)
    precision, _, how = name.partition(":")
    compiled = how.endswith("compiled")
    how = how.removesuffix("compiled").removesuffix("_")
    forward = forms.form(network, precision if how in ("", "eager") else how)
    forward.check_finite = False  # read by the quantized forms alone
    generator = torch.Generator().manual_seed(0)
    if length:
        tables = [m for m in network.modules() if isinstance(m, torch.nn.Embedding)]
        words = tables[0].num_embeddings
        x = torch.randint(0, words, (batch, length), generator=generator)
    else:
        width = next(p.shape[1] for p in network.parameters() if p.dim() == 2)
        x = torch.randn(batch, width, generator=generator)
        x = x.to(torch.bfloat16) if precision == "bf16" else x
    if compiled:
        forward = torch.compile(forward, dynamic=False)

    def call() -> None:
        with torch.inference_mode():
            forward(x)

    return call
