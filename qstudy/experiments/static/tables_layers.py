"""Tables of layers: what each costs, how measures rank them, where the error grows."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.static.grid_sweeps import ORDERS, RANKINGS
from qstudy.experiments.static.tables_parts import (
    about,
    drop,
    end,
    names,
    ordered,
    scores,
)
from qstudy.spec import RunRecord


def sensitivity(records: list[RunRecord]) -> list[dict[str, Any]]:
    """Three measures, each larger for a layer that costs more.

    leave_one_out: the loss that keeping the layer in fp32 saves; one_in: the loss that
    quantizing it alone adds; noise: the power of the noise that it alone makes, -SQNR.
    drop_out and drop_in are the drops of the same two networks against fp32.
    """
    rows = []
    for record in ordered(records):
        for name in record["layers"].split():
            rows.append(
                {
                    **about(record),
                    "bits": record.spec.params["bits"],
                    "layer": name,
                    "draw": record.spec.seed,
                    "n": record.arrays["correct"].shape[1],
                    "leave_one_out": record["loss.all"] - record[f"loss.out.{name}"],
                    "one_in": record[f"loss.in.{name}"] - record["loss.fp32"],
                    "noise": -record[f"noise.{name}"],
                    **columns.interval("drop_out", drop(record, f"out.{name}")),
                    **columns.interval("drop_in", drop(record, f"in.{name}")),
                    **end(record),
                }
            )
    return rows


def kendall(a: list[float], b: list[float]) -> float:
    """Kendall's tau-a: the share of pairs ordered alike minus that ordered otherwise.

    A ratio of whole numbers, the same on every processor. ValueError for other lengths
    or fewer than two values.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"{len(a)} and {len(b)} values have no order to compare")
    signs = [
        ((a[i] > a[j]) - (a[i] < a[j])) * ((b[i] > b[j]) - (b[i] < b[j]))
        for i, j in combinations(range(len(a)), 2)
    ]
    return sum(signs) / len(signs)


def ranks(frame: pd.DataFrame) -> pd.DataFrame:
    """Of two measures in one draw, and of one measure in two draws."""
    of = {draw: rows for draw, rows in frame.groupby("draw")}
    rows = []
    for draw, layers in of.items():
        for a, b in combinations(RANKINGS, 2):
            tau = kendall(layers[a].tolist(), layers[b].tolist())
            first = layers.iloc[0]
            rows.append((a, b, f"{draw}", tau, len(layers), first.origin, first.run))
    for measure in RANKINGS:
        for a, b in combinations(of, 2):
            tau = kendall(of[a][measure].tolist(), of[b][measure].tolist())
            first = of[a].iloc[0]
            both = (first.origin, first.run)
            rows.append((measure, measure, f"{a} and {b}", tau, len(of[a]), *both))
    told = ["first", "second", "draw", "tau", "n", "origin", "run"]
    return pd.DataFrame(rows, columns=told)


def partial(records: list[RunRecord]) -> list[dict[str, Any]]:
    """A row a set of layers back in fp32; the first has none."""
    rows = []
    for record in ordered(records):
        orders = {r: record[f"order.{r}"].split() for r in ORDERS}
        for name in names(record)[1:]:
            ranking, _, count = name.rpartition("-")
            rows.append(
                {
                    **about(record),
                    "bits": record.spec.params["bits"],
                    "ranking": ranking or "none",
                    "kept": int(count),
                    "layers": " ".join(orders.get(ranking, [])[: int(count)]),
                    **scores(record, name),
                    **end(record),
                }
            )
    return rows


def depth(records: list[RunRecord]) -> list[dict[str, Any]]:
    """A row a kernel and form: its SQNR against fp32."""
    rows = []
    for record in ordered(records):
        for key, value in record.values.items():
            place, _, rest = key.partition(".")
            kernel, _, form = rest.rpartition(".")
            rows.append(
                {
                    **about(record),
                    "engine": record.spec.params["engine"],
                    "place": int(place),
                    "kernel": kernel,
                    "form": form,
                    "n": record.spec.params["noise_images"],
                    "sqnr_db": value.value,
                    **end(record),
                }
            )
    return rows
