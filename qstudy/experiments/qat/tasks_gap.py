"""What a network trained with rounding loses on its way to integers: nothing, nearly.

Predictions of the network as it was trained and of each integer form are counted
against each other; of some images every code is compared, kernel by kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from qstudy.experiments.evaluation import scored
from qstudy.spec import Context, RunSpec, Value, Values

# Images whose codes are held at a time.
_BATCH = 50
# Images traced one by one, at most, of those whose predictions differ.
_MOST = 40


def gap(spec: RunSpec, ctx: Context) -> Values:
    """Accuracy of the simulated network and of each form, and where they part.

    top1/<form>, differ/<form> (images whose prediction differs), margin/<form> (the
    largest lead, in steps of the output, that the simulated prediction had among
    them), begins/<form>/<kernel> (at which kernel their first codes differ); of the
    traced images free/, alone/ (codes that differ, in percent) and tie/<form>/<kernel>;
    once a kernel number/ (its place), computed/ and clipped/<kernel>.
    """
    from qstudy.measure import system
    from qstudy.methods import simulate
    from qstudy.models import zoo
    from qstudy.training.loop import predict

    params = spec.params
    network = simulate.simulate(
        zoo.build(params["model"]), simulate.SimulateConfig(**params["simulate"])
    )
    parent = RunSpec.from_dict(params["parent"])
    zoo.load_checkpoint(network, ctx.checkpoint(parent))
    network.eval()
    images, labels = ctx.images(params["dataset"], "test")
    first = params.get("first", len(images))
    images, labels = images[:first], labels[:first]
    logits = predict(network, images)
    arrays, values = {}, {}
    values["top1/simulated"], found = scored(
        _Given(logits), images, labels, kind="isa", tolerance=0.3
    )
    arrays["correct"], arrays["predictions"] = found["correct"], found["predictions"]
    here = [f for f in params["forms"] if _is_here(f, system.engines())]
    with ctx.progress(max(1, len(here)), f"gap {params['width']}") as step:
        for form in here:
            made = _form(network, form)
            values[f"top1/{form}"], other = scored(
                made, images, labels, kind="isa", tolerance=0.3
            )
            off = np.flatnonzero(other["predictions"] != found["predictions"])
            arrays[f"predictions_{form}"] = other["predictions"]
            values[f"differ/{form}"] = _isa(len(off), "count", len(images))
            if len(off):
                lead = _leads(logits[off]) / _output_step(network)
                values[f"margin/{form}"] = _isa(_short(lead.max().item()), "step", 255)
            values |= _traced(network, made, form, images[: params["traced"]])
            values |= _begins(
                network, made, form, images[off[: min(_MOST, params["traced"])]]
            )
            step(form)
    return Values(values, arrays=arrays)


class _Given:
    """Logits that were computed before, as a network that gives them in their order."""

    def __init__(self, logits: Any) -> None:
        self.logits, self.place = logits, 0

    def eval(self) -> None:
        self.place = 0

    def __call__(self, x: Any) -> Any:
        self.place += len(x)
        return self.logits[self.place - len(x) : self.place]


def _is_here(form: str, engines: Iterable[str]) -> bool:
    return form.startswith("integer_") or form in engines


def _form(network: Any, form: str) -> Any:
    """An engine's int8 network, or this study's integers under one arithmetic."""
    from qstudy.methods import convert
    from qstudy.methods.integer.simulated import IntegerNetwork

    if form.startswith("integer_"):
        return IntegerNetwork(network, arithmetic=form.removeprefix("integer_"))
    return convert.convert(network, engine=form)


def _traced(network: Any, made: Any, form: str, images: np.ndarray) -> dict[str, Value]:
    """Every kernel's codes on `images`, counted."""
    found = list(_agreements(network, made, images, batch=_BATCH))
    values: dict[str, Value] = {}
    for number, same in enumerate(zip(*(a.kernels for a in found), strict=True)):
        name, count = same[0].name, sum(k.values for k in same)
        for how in ("free", "alone"):
            off = sum((Counter(getattr(k, how)) for k in same), Counter())
            share = _short(100 * sum(off.values()) / count)
            values[f"{how}/{form}/{name}"] = _isa(share, "%", 100)
        ties = [k.from_tie for k in same if k.from_tie is not None]
        if ties:
            values[f"tie/{form}/{name}"] = _isa(_short(max(ties)), "step", 0.5)
        values[f"number/{name}"] = Value(number, "count", "exact")
        values[f"computed/{name}"] = Value(same[0].computed, "text", "exact")
        values[f"clipped/{name}"] = Value(same[0].clipped, "count", "exact")
    return values


def _begins(network: Any, made: Any, form: str, images: np.ndarray) -> dict[str, Value]:
    """Of each image whose prediction differs, the kernel where its codes first do."""
    begins: Counter[str] = Counter()
    for found in _agreements(network, made, images, batch=1):
        begins[found.first.name if found.first else "nowhere"] += 1
    return {
        f"begins/{form}/{name}": _isa(count, "count", len(images))
        for name, count in begins.items()
    }


def _agreements(network: Any, made: Any, images: np.ndarray, *, batch: int) -> Any:
    from qstudy.methods.agreement import agreement
    from qstudy.training.batches import normalise

    for start in range(0, len(images), batch):
        yield agreement(network, made, normalise(images[start : start + batch]))


def _leads(logits: Any) -> Any:
    """How far the largest logit of each row is ahead of the next."""
    top = logits.topk(2).values
    return top[:, 0] - top[:, 1]


def _output_step(network: Any) -> float:
    """The step of the quantizer that stands last."""
    from qstudy.methods.fakequant import FakeQuantize

    last = [
        module
        for node in network.graph.nodes
        if node.op == "call_module"
        and isinstance(module := network.get_submodule(node.target), FakeQuantize)
    ][-1]
    return last.qparams().scale.item()


def _isa(value: float, unit: str, tolerance: float) -> Value:
    return Value(value, unit, "isa", tolerance=tolerance)


def _short(value: float) -> float:
    """6 significant digits: what follows differs between two builds of one library."""
    return float(f"{value:.6g}")
