"""What a quantizer's step costs, for many steps at once: error, squared error, KL.

LSQ learns a step from the loss of a task. Whether that is also the step that keeps the
tensor best is asked by trying shares of it (Esser et al. 2020, arXiv 1902.08153,
section 3.6, from 0.01 to 20 times the step). For the Kullback-Leibler divergence the
paper leaves the density of the rounded values open; here a code's share p_c is spread
evenly over the values that have the code, a cell of width w_c:

    KL(p || q) = <log p(v)> - sum_c p_c log(p_c / w_c)

of which only the second term depends on the step. Inner cells are a step wide; the
outer two end where the values do, at least half a step beyond the code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qstudy.numerics import checks
from qstudy.numerics.mapping import CodeRange

MEASURES = ("mae", "mse", "kl")


def step_errors(v: Tensor, steps: Tensor, *, codes: CodeRange) -> dict[str, Tensor]:
    """By name in MEASURES, float64 (K,): what rounding float `v` costs with each step.

    `steps` (K,) are positive. `mae` and `mse` are means over all values, `kl` is the
    second term above, in nat. Values are sorted once and summed by cell, so that a step
    costs a few look-ups for each code. Raises ValueError for a v that is empty, no
    float or not finite, and for a step that is not positive.
    """
    checks.floats(v, "v")
    checks.scales(steps, "steps")
    values = v.detach().double().flatten().sort().values
    sums = torch.zeros(2, len(values) + 1, dtype=torch.float64)
    sums[0, 1:], sums[1, 1:] = values.cumsum(0), values.square().cumsum(0)
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    levels = torch.arange(codes.low, codes.high + 1, dtype=torch.float64)
    for step in steps.detach().double().tolist():
        points = levels * step
        edges = points[:-1] + step / 2
        for name, value in zip(
            MEASURES, _costs(values, sums, points, edges, step), strict=True
        ):
            found[name].append(value)
    return {name: torch.tensor(f, dtype=torch.float64) for name, f in found.items()}


def best_steps(
    v: Tensor, step: float, *, codes: CodeRange, shares: Tensor
) -> dict[str, float]:
    """By name in MEASURES, the share of `step` in `shares` that costs least.

    The first of equals. Errors as `step_errors`.
    """
    costs = step_errors(v, shares.double() * step, codes=codes)
    return {name: float(shares[int(cost.argmin())]) for name, cost in costs.items()}


def _costs(
    values: Tensor, sums: Tensor, points: Tensor, edges: Tensor, step: float
) -> tuple[float, float, float]:
    count = len(values)
    ends = torch.searchsorted(values, edges)
    first = torch.cat([ends.new_zeros(1), ends])
    last = torch.cat([ends, ends.new_full((1,), count)])
    # Below its code a value errs by code - v, above it by v - code.
    middle = torch.searchsorted(values, points).clamp(first, last)
    below, above = middle - first, last - middle
    sum_below = sums[0, middle] - sums[0, first]
    sum_above = sums[0, last] - sums[0, middle]
    mae = (points * (below - above) - sum_below + sum_above).sum() / count
    held = below + above
    squares = sums[1, last] - sums[1, first]
    mixed = points * (sum_below + sum_above)
    mse = (squares - 2 * mixed + points.square() * held).sum() / count
    width = torch.full_like(points, step)
    width[0] += (points[0] - step / 2 - values[0]).clamp(min=0)
    width[-1] += (values[-1] - points[-1] - step / 2).clamp(min=0)
    share = held[held > 0] / count
    kl = -(share * torch.log(share / width[held > 0])).sum()
    return float(mae), float(mse.clamp(min=0)), float(kl)
