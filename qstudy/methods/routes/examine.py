"""What can be said of a route without a clock: does it take the network, what ran."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from qstudy.measure import accuracy
from qstudy.methods import plain
from qstudy.methods.routes import route
from qstudy.methods.routes.kernels import Kernels, Spent
from qstudy.methods.routes.route import Source
from qstudy.methods.routes.table import build
from qstudy.numerics import error

# Inputs whose answers are compared, at least.
COMPARED = 16
PROFILED_CALLS = 5


@dataclass(frozen=True)
class Examined:
    """One route and one network.

    `refused` is why the route does not take the network, in one line, and the rest is
    then empty. `sqnr` (dB) and `agreement` (share of equal top-1 classes) compare `n`
    answers with the eager fp32 network's; sqnr is None where no bit differs.
    """

    route: str
    refused: str = ""
    size_mib: float = 0.0
    kernels: Kernels = Kernels({})  # noqa: RUF009, frozen
    spent: Spent | None = None
    sqnr: float | None = None
    agreement: float = 0.0
    n: int = 0


def reference(source: Source) -> tuple[list[Tensor], Tensor]:
    """Inputs of the example's size, drawn from a seed, and the network's answers.

    The answers are (n, classes), n at least COMPARED. ValueError, in one line, where
    the network does not take the example or gives no such tensor.
    """
    generator = torch.Generator().manual_seed(1)
    count = -(-COMPARED // source.batch)
    how = {"generator": generator, "vocabulary": source.vocabulary}
    inputs = [route.inputs(source.example.shape, **how) for _ in range(count)]
    network, shape = plain.copied(source.network), tuple(source.example.shape)
    with torch.inference_mode():
        try:
            answers = [network(x) for x in inputs]
        except (RuntimeError, ValueError, TypeError, IndexError) as failure:
            raise ValueError(
                f"input of shape {shape} does not fit the network "
                f"({one_line(failure)}): give the shape that its forward takes"
            ) from failure
    for answer in answers:
        if not isinstance(answer, Tensor) or answer.dim() != 2:
            what = type(answer).__name__
            if isinstance(answer, Tensor):
                what = f"tensor of shape {tuple(answer.shape)}"
            raise ValueError(
                f"the network gives a {what}: one tensor (B, classes) is needed"
            )
    whole = torch.cat(answers)
    if not bool(torch.isfinite(whole).all()):
        raise ValueError(
            "the network answers with NaN or infinity: look at its weights, and at the "
            "scale of its input"
        )
    return inputs, whole


def examine(
    source: Source,
    names: Iterable[str],
    *,
    step: Callable[[str], None] = lambda name: None,
) -> dict[str, Examined]:
    """Build each route in turn and look at it; nothing of a route is kept.

    Whatever a route raises is its refusal. `step` is called with each name when it is
    done. ValueError as `reference`.
    """
    inputs, expected = reference(source)
    found = {}
    for name in names:
        try:
            found[name] = _one(name, source, inputs, expected)
        except KeyboardInterrupt:
            raise
        except Exception as failure:  # engines raise what they like, and it is told
            found[name] = Examined(name, refused=one_line(failure))
        gc.collect()
        step(name)
    return found


def _one(name: str, source: Source, inputs: list[Tensor], expected: Tensor) -> Examined:
    built = build(name, source)
    answers = torch.cat([built.forward(x).clone() for x in inputs])
    loss = error.sqnr(expected, answers)
    same = accuracy.classes(expected) == accuracy.classes(answers)
    return Examined(
        name,
        size_mib=built.size_mib,
        kernels=built.kernels(source.example),
        spent=built.spent and built.spent(source.example, PROFILED_CALLS),
        sqnr=loss if abs(loss) < float("inf") else None,
        agreement=float(same.mean()),
        n=len(expected),
    )


def one_line(failure: Exception) -> str:
    """The message of an error, its first line with words, at most 300 long."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    said = lines[0] if lines else type(failure).__name__
    return " ".join(said.split())[:300]
