"""A real pretrained network: ImageNet's weights, a head fitted here, then quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from qstudy.experiments.evaluation import calibration_batches
from qstudy.experiments.static.grid_sweeps import label
from qstudy.experiments.static.tasks_sweeps import Scores
from qstudy.spec import Context, RunSpec, Value, Values


def transfer(spec: RunSpec, ctx: Context) -> Values:
    """The layers of `pretrained` stay as they are, the head is logistic regression.

    Images are enlarged to `side`, in which the network's padding is the one that it was
    trained with. Every condition is calibrated on images that fitted the head.
    """
    from qstudy.methods import static

    def network(condition: dict[str, Any], model: Any, batches: list) -> Any:
        config = static.QuantizeConfig(engine=None, **condition)
        return static.quantize(model, batches, config)

    scores, loss = _scored(spec, ctx, network)
    return scores.outcome(loss=loss)


def equalized(spec: RunSpec, ctx: Context) -> Values:
    """The same network cured of one scale a tensor; `top1.unclamped` is of fp32's.

    That is the network with ReLU in place of ReLU6, whose head stays as fitted before.
    """
    import torch

    from qstudy.methods import simulate, static

    params = spec.params
    rounded: dict[tuple[str, str], Any] = {}

    def network(condition: dict[str, Any], model: Any, batches: list) -> Any:
        granularity, cure = condition["granularity"], condition["cure"]
        how = simulate.SimulateConfig(
            weight_bits=params["weight_bits"], granularity=granularity
        )
        first, _, then = cure.partition("_")
        if "bias" in (first, then):
            before = rounded[granularity, "nearest" if first == "bias" else first]
            few = torch.cat(batches)[: params["bias_images"]].split(64)
            return simulate.fixed(static.correct_biases(before, few))
        fp32 = static.equalize(model) if cure == "equalized" else model
        made = simulate.simulate(fp32, how, calibration=batches).eval()
        rounded[granularity, cure] = made
        return simulate.fixed(made)

    scores, loss = _scored(
        spec, ctx, network, beside={"unclamped": static.without_clamps}
    )
    return scores.outcome(loss=loss)


def _scored(
    spec: RunSpec,
    ctx: Context,
    network: Callable[[dict[str, Any], Any, list], Any],
    *,
    beside: Mapping[str, Callable[[Any], Any]] = MappingProxyType({}),
) -> tuple[Scores, Value]:
    """fp32, what `beside` makes of it, each condition; and the head's loss, in nat."""
    from qstudy.experiments.static.inputs import Enlarged, enlarge

    params, side = spec.params, spec.params["side"]
    images, labels = ctx.images(params["dataset"], "train")
    some = np.random.default_rng((spec.seed, 2019)).permutation(len(images))
    some = some[: params["fitted_images"]]
    scores = Scores(spec, ctx)
    conditions = params["conditions"]
    with ctx.progress(len(conditions) + len(beside) + 2, params["task"]) as step:
        name = params["pretrained"]
        model = _pretrained(ctx.pretrained(name) if name else None)
        fitted = (images[some], labels[some])
        loss = _fit(model, *fitted, side=side, penalty=params["penalty"])
        step("head fitted")
        for said, changed in {"fp32": lambda same: same, **beside}.items():
            scores.add(said, Enlarged(changed(model), side))
            step(said)
        count = min(params["calibration_images"], len(some))
        batches = calibration_batches(images[some], count=count, draw=spec.seed)
        batches = [enlarge(batch, side) for batch in batches]
        for condition in conditions:
            made = network(dict(condition), model, batches)
            scores.add(label(condition), Enlarged(made, side))
            step(label(condition))
    return scores, Value(loss, "nat", "isa", tolerance=0.05 * loss)


def _pretrained(path: Any) -> Any:
    from safetensors.torch import load_file

    from qstudy.models.efficientnet_lite import efficientnet_lite0, fill

    model = efficientnet_lite0(classes=10)
    if path is not None:  # a smoke run has weights from a seed
        fill(model, load_file(path))
    return model.eval()


def _fit(
    model: Any, images: np.ndarray, labels: np.ndarray, *, side: int, penalty: float
) -> float:
    """Fit the last layer to what the others make of `images`; the mean loss, in nat.

    Cross-entropy plus `penalty`/2 times the squared weights, to its minimum by L-BFGS.
    Features are first brought to mean 0 and deviation 1, which the layer undoes.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from qstudy.experiments.static.inputs import Enlarged
    from qstudy.training.loop import predict

    x = predict(Enlarged(model.features, side), images).double()
    y = torch.as_tensor(labels).long()
    centre, spread = x.mean(0), x.std(0).clamp(min=1e-6)
    x = (x - centre) / spread
    weight = torch.zeros(10, x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(10, dtype=x.dtype, requires_grad=True)
    search = torch.optim.LBFGS(
        [weight, bias], max_iter=200, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        search.zero_grad()
        loss = cross_entropy(x @ weight.T + bias, y)
        loss = loss + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    search.step(closure)
    with torch.no_grad():
        loss = cross_entropy(x @ weight.T + bias, y).item()
        model.fc.weight.copy_(weight / spread)
        model.fc.bias.copy_(bias - (weight / spread) @ centre)
    return loss
