"""Whether a trained network is what its integers compute: codes held against codes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qstudy.experiments.lsq.trained import network_of
from qstudy.spec import Context, RunSpec, Value, Values

# Images whose codes are held at a time.
BATCH = 50


def integers(spec: RunSpec, ctx: Context) -> Values:
    """The simulated network and each integer form of it, code by code.

    By form: codes/ (compared), free/ and alone/ (that differ where both run on their
    own, and where each kernel is given the simulated codes), tie/ (the largest distance
    from a tie, in steps, of the latter), differ/ (predictions), and logits/ (the
    largest difference of a logit where all codes are the simulated ones). A form that
    this machine has no engine for is left out.
    """
    from qstudy.methods.agreement import agreement
    from qstudy.training.batches import normalise

    params = spec.params
    parent = RunSpec.from_dict(params["parent"])
    simulated = network_of(parent, ctx.checkpoint(parent))
    images, _ = ctx.images(params["dataset"], params["scored_on"])
    images = images[: params["images"]]
    here = [form for form in params["forms"] if _is_here(form)]
    values: dict[str, Value] = {"examples": Value(len(images), "count", "exact")}
    with ctx.progress(max(1, len(here)), f"integers {params['width']}") as step:
        for form in here:
            made = integer_form(simulated, form)
            found = [
                agreement(simulated, made, normalise(images[start : start + BATCH]))
                for start in range(0, len(images), BATCH)
            ]
            values |= _counted(form, found)
            step(form)
    return Values(values)


def integer_form(simulated: Any, form: str) -> Any:
    """`simulated` in the integers that `form` names: one of recipe.FORMS."""
    from qstudy.methods.convert import convert
    from qstudy.methods.integer.simulated import IntegerNetwork
    from qstudy.methods.integer.wide import WideNetwork

    how = form.removeprefix("integer_")
    if how == "wide":
        return WideNetwork(simulated)
    if how != form:
        return IntegerNetwork(simulated, arithmetic=how)
    return convert(simulated, engine=form)


def _is_here(form: str) -> bool:
    from qstudy.measure import system

    return form.startswith("integer_") or form in system.engines()


def _counted(form: str, found: list[Any]) -> dict[str, Value]:
    kernels = [kernel for one in found for kernel in one.kernels]
    codes = sum(kernel.values for kernel in kernels)
    made = {f"codes/{form}": Value(codes, "count", "exact")}
    for how in ("free", "alone"):
        off = sum((Counter(getattr(k, how)) for k in kernels), Counter())
        made[f"{how}/{form}"] = _isa(sum(off.values()), "count", codes)
    ties = [kernel.from_tie for kernel in kernels if kernel.from_tie is not None]
    if ties:
        made[f"tie/{form}"] = _isa(_short(max(ties)), "step", 0.5)
    examples = sum(one.examples for one in found)
    differ = sum(one.predictions for one in found)
    made[f"differ/{form}"] = _isa(differ, "count", examples)
    apart = max(one.logits for one in found)
    made[f"logits/{form}"] = _isa(_short(apart), "", 1e-3)
    return made


def _isa(value: float, unit: str, tolerance: float) -> Value:
    return Value(value, unit, "isa", tolerance=tolerance)


def _short(value: float) -> float:
    """6 significant digits: what follows differs between two builds of one library."""
    return float(f"{value:.6g}")
