"""How long a user waits: from a checkpoint to int8, and for the test set's answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qstudy.experiments.evaluation import parent_network
from qstudy.experiments.static.grid import HEADLINE
from qstudy.experiments.static.tasks_sweeps import Scores, calibration
from qstudy.spec import Context, RunSpec, Value, Values


def work(spec: RunSpec, ctx: Context) -> Values:
    """`s.WORK`: the median of the rounds in seconds, its ends the least and the most.

    Works take turns in one process that has done each once before. Images lie in
    memory; the checkpoint is read from disk every time. `ratio.quantize` is torch's
    eager route over the study's own.
    """
    import numpy as np

    from qstudy.measure.statistics import median_ratio
    from qstudy.methods import static

    params = spec.params
    batches, scores = calibration(spec, ctx), Scores(spec, ctx)
    one_call = static.QuantizeConfig(engine=params["engine"])
    eager = static.StaticConfig(
        engine=params["engine"],
        weight_granularity=HEADLINE["granularity"],
        observer=HEADLINE["calibrator"],
        activation_bits=HEADLINE["activation_bits"],
    )
    made = static.quantize(parent_network(spec, ctx), batches, one_call)

    def quantize() -> None:
        static.quantize(parent_network(spec, ctx), batches, one_call)

    def quantize_static() -> None:
        static.quantize_static(parent_network(spec, ctx), batches, eager)

    def evaluate() -> None:
        scores.add("int8", made)

    works = (quantize, quantize_static, evaluate)
    taken: dict[str, list[float]] = {each.__name__: [] for each in works}
    rounds = 1 + params["rounds"]
    with ctx.progress(rounds, "work") as step:
        for number in range(rounds):
            for each in works:
                seconds = _seconds(each)
                if number:  # the first call of each fills caches
                    taken[each.__name__].append(seconds)
            step(f"round {number} of {params['rounds']}")
    values = {
        f"s.{name}": Value(float(np.median(s)), "s", "timing", min(s), max(s))
        for name, s in taken.items()
    }
    ratio = median_ratio(taken["quantize_static"], taken["quantize"], seed=0)
    values["ratio.quantize"] = Value(
        ratio.value, "ratio", "timing", ratio.low, ratio.high
    )
    values["top1.int8"] = scores.values["top1.int8"]
    values["images"] = Value(len(scores.images), "count", "exact")
    return Values(values)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
