"""The layers of the dynamic chapter's encoder as tables: clipping ranges, kernels."""

from __future__ import annotations

import pandas as pd

from qstudy.spec import RunRecord


def ranges_table(records: list[RunRecord]) -> pd.DataFrame:
    """One row a Linear: its fixed ranges, and those that single passages have."""
    rows = []
    for r in records:
        paths = [n.split("/")[1] for n in r.values if n.startswith("outside/")]
        paths.sort(key=_place)
        for layer in paths:
            row = {"model": r.spec.params["model"], "layer": layer}
            row |= {
                name.split("/")[0]: value.value
                for name, value in r.values.items()
                if name.endswith(f"/{layer}") and not name.startswith("outside")
            }
            row |= {
                "outside_pct": r[f"outside/{layer}"],
                "n": r.spec.params["passages"],
            }
            rows.append({**row, "origin": r.origin, "run": r.spec.key})
    return pd.DataFrame(rows)


def _place(layer: str) -> tuple[int, int]:
    """Where a Linear stands in its encoder: the number of its layer, its turn there."""
    _, number, name = layer.split(".")
    turns = ("query", "key", "value", "output", "up", "down")
    return int(number), turns.index(name)


def kernels_table(records: list[RunRecord]) -> pd.DataFrame:
    """One row a kernel: results compared with the study's arithmetic, and differing."""
    rows = []
    for r in records:
        for name, value in r.values.items():
            sort, _, kernel = name.partition("/")
            if sort != "compared":
                continue
            engine, granularity, bits, _ = kernel.split(" ")
            rows.append(
                {
                    "model": r.spec.params["model"],
                    "engine": engine,
                    "granularity": granularity.replace("-", "_"),
                    "activation_bits": int(bits),
                    "n": value.value,
                    "differing": r[f"differing/{kernel}"],
                    "origin": r.origin,
                    "run": r.spec.key,
                }
            )
    return pd.DataFrame(rows)
