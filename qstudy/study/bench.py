"""A reader's own network along every route: what takes it, how fast, why not faster.

The same table of routes, the same clock and the same statistics as the speed chapter.
The network is examined in this process and timed in fresh ones that take turns.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from qstudy.measure import conditions, latency, system
from qstudy.measure.statistics import Interval

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qstudy.methods.routes.examine import Examined

FACTORY = "qstudy.methods.routes.timed:timed_forward"
EAGER = "fp32:eager"
# Of a column with the names of routes, two blanks behind the longest included.
_WIDE = 26


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long to time: fresh processes, rounds in each, seconds for all of them."""

    processes: int = 3
    rounds: int = 30
    seconds: float = 5.0
    warmup_seconds: float = 0.4


@dataclass(frozen=True, kw_only=True)
class Row:
    """One route: refused with its reason, or examined and timed.

    Times in ms; ratios are baseline time over this route's, above 1 is faster; each
    interval is the 95 % one over processes. `sqnr` None: equal to the last bit.
    """

    route: str
    refused: str = ""
    ms: Interval | None = None
    ratio_eager: Interval | None = None
    ratio_best: Interval | None = None
    sqnr: float | None = None
    agreement: float = 0.0
    size_mib: float = 0.0
    kernels: dict[str, int]
    int8_share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `bench` found. `notes` are of the machine; `best_fp32` is a route's name."""

    model: str
    shape: tuple[int, ...]
    threads: int
    processes: int
    machine: str
    load: float
    notes: tuple[str, ...]
    best_fp32: str
    sentence: str
    rows: tuple[Row, ...]

    def as_json(self) -> str:
        """All of it, as one JSON object."""
        return json.dumps(asdict(self), indent=1)

    def __str__(self) -> str:
        return as_text(self)


def bench(
    model: nn.Module | str,
    example: Tensor,
    *,
    threads: int | None = None,
    routes: Collection[str] | None = None,
    timing: Timing | None = None,
    progress: bool = True,
) -> Report:
    """Time `model` along every route that takes it, and say what holds int8 back.

    `model` is an nn.Module, or "module:function" that gives one. A module is handed to
    other processes as data: they must be able to import its classes, and it may hold
    plain values, tensors and modules alone. `example` (B, ...) is float32; only its
    shape matters, for values are drawn from a seed, and so are the calibration batches:
    SQNR and agreement are of such inputs. An int64 example is taken for ids, which are
    drawn from 0 to its largest. `threads` are torch's by default. Raises
    ValueError, in one line, for an input that does not fit, threads that the machine
    has not, a route that is not there, or a network that no other process can be given.
    """
    import torch

    from qstudy.methods import routes as table
    from qstudy.methods.routes import diagnosis, examine, handover, timed

    timing = timing or Timing()
    threads = torch.get_num_threads() if threads is None else threads
    conditions.check_threads(threads)
    names = list(table.ROUTES) if routes is None else list(routes)
    for name in names:
        if name not in table.ROUTES:
            raise ValueError(f"route {name!r} is not one of {tuple(table.ROUTES)}")
    _check_example(example)
    load, machine = conditions.other_load(), system.describe()
    place = model if isinstance(model, str) else ""
    network = handover.from_function(place) if place else model
    with (
        tempfile.TemporaryDirectory(prefix="qstudy-bench-") as folder,
        tqdm(total=len(names) + timing.processes, disable=not progress) as bar,
        system.threads(threads),
    ):
        told = handover.hand_over(network, Path(folder), place=place)
        shape = tuple(example.shape)
        floats = example.is_floating_point()
        ids = {} if floats else {"vocabulary": int(example.max()) + 1}
        source = timed.source(told, shape=shape, folder=Path(folder), **ids)
        if not place:
            handover.check_alike(network, source.network, source.example)
        with warnings.catch_warnings():
            # What engines remark about a network is in the reasons, or in no one's way.
            warnings.simplefilter("ignore")
            found = examine.examine(source, names, step=_stepper(bar, "examining"))
        taken = [name for name, examined in found.items() if not examined.refused]
        arguments = {"network": told, "shape": shape[1:], "folder": folder, **ids}
        result = taken and latency.measure(
            {name: {"name": name, **arguments} for name in taken},
            factory=FACTORY,
            threads=threads,
            batches=[shape[0]],
            **asdict(timing),
            progress=_stepper(bar, "timing"),
        )
    if not taken:
        reasons = "; ".join(f"{e.route}: {e.refused}" for e in found.values())
        raise ValueError(f"no route takes this network: {reasons}")
    best = _best(result, "fp32", taken)
    rows = tuple(_row(found[name], result, best) for name in names)
    fastest = _best(result, "int8", taken)
    ratio = next((r.ratio_best for r in rows if r.route == fastest), None)
    return Report(
        model=place or type(network).__name__,
        shape=shape,
        threads=threads,
        processes=timing.processes,
        machine=machine["label"],
        load=load,
        notes=(
            *filter(None, [conditions.busy_note(load)]),
            *conditions.isa_notes(machine),
        ),
        best_fp32=best or "",
        sentence=diagnosis.sentence(
            found,
            fastest=fastest if ratio else None,
            ratio=(ratio.value, ratio.low, ratio.high) if ratio else (),
        ),
        rows=rows,
    )


def example_of(shape: str, *, vocabulary: int = 0) -> Tensor:
    """An example of a shape like "1x3x224x224", of ids if there is a vocabulary.

    ValueError for another text or a vocabulary below 0.
    """
    import torch

    sides = shape.lower().split("x")
    if len(sides) < 2 or not all(s.isdecimal() and int(s) > 0 for s in sides):
        raise ValueError(
            f"input {shape!r} is not a shape like 1x3x224x224, batch first, each at "
            "least 1"
        )
    if vocabulary < 0:
        raise ValueError(f"vocabulary {vocabulary} is below 0, which stands for none")
    whole = [int(side) for side in sides]
    return torch.full(whole, vocabulary - 1) if vocabulary else torch.zeros(whole)


def _check_example(example: Tensor) -> None:
    import torch

    known = example.dtype in (torch.float32, torch.int64)
    if example.dim() < 2 or not known or not example.numel():
        raise ValueError(
            f"example is {example.dtype} of shape {tuple(example.shape)}: float32 "
            "(B, ...), or int64 ids, with at least one example is needed"
        )
    if not example.is_floating_point() and int(example.min()) < 0:
        raise ValueError(f"example has the id {int(example.min())}: 0 is the least")


def _stepper(bar: Any, what: str) -> Callable[[str], None]:
    def step(name: str) -> None:
        bar.set_description(f"{what} {name}", refresh=False)
        bar.update()

    return step


def _best(
    result: latency.LatencyResult, precision: str, taken: list[str]
) -> str | None:
    timed = [name for name in taken if name.startswith(f"{precision}:")]
    return latency.fastest(result, timed) if timed else None


def _row(examined: Examined, result: latency.LatencyResult, best: str | None) -> Row:
    name = examined.route
    if examined.refused:
        return Row(route=name, refused=examined.refused, kernels={})

    def ratio(baseline: str | None) -> Interval | None:
        known = baseline in result.medians
        return latency.ratio(result, baseline, name) if known else None

    return Row(
        route=name,
        ms=latency.milliseconds(result, name),
        ratio_eager=ratio(EAGER),
        ratio_best=ratio(best),
        sqnr=examined.sqnr,
        agreement=examined.agreement,
        size_mib=examined.size_mib,
        kernels=dict(examined.kernels.counts),
        int8_share=examined.kernels.int8_share,
    )


def as_text(report: Report) -> str:
    """The report for a terminal: a table, refusals, kernels, the sentence."""
    shape = "x".join(map(str, report.shape))
    lines = [
        f"{report.model}, input {shape}, threads {report.threads}, "
        f"{report.processes} processes, {report.machine}",
        *report.notes,
        "",
        f"{'route':<{_WIDE}}{'ms':>8}  {'95 %':<17}{'× eager':>9}  {'× best fp32':<22}"
        f"{'SQNR':>6}{'top-1':>7}{'MiB':>8}",
    ]
    timed = [row for row in report.rows if not row.refused]
    lines += [_line(row, report.best_fp32) for row in timed]
    lines += ["", "kernels that multiply or round, in one call:"]
    lines += [f"  {row.route:<{_WIDE}}{_kernels(row)}" for row in timed]
    refused = [row for row in report.rows if row.refused]
    if refused:
        lines += ["", "refused:"]
        lines += [f"  {row.route:<{_WIDE}}{row.refused}" for row in refused]
    return "\n".join([*lines, "", report.sentence])


def _line(row: Row, best: str) -> str:
    ends = f"[{row.ms.low:.2f}, {row.ms.high:.2f}]"
    eager = f"{row.ratio_eager.value:.2f}" if row.ratio_eager else ""
    against = _against(row, best)
    sqnr = "exact" if row.sqnr is None else f"{row.sqnr:.0f} dB"
    return (
        f"{row.route:<{_WIDE}}{row.ms.value:>8.2f}  {ends:<17}{eager:>9}  {against:<22}"
        f"{sqnr:>6}{row.agreement:>7.0%}{row.size_mib:>8.2f}"
    )


def _against(row: Row, best: str) -> str:
    if row.ratio_best is None:
        return ""
    if row.route == best:
        return "1 (it is the best)"
    found = row.ratio_best
    if found.low <= 1 <= found.high:
        return "not resolved"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _kernels(row: Row) -> str:
    named = sorted(row.kernels.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {name}" for name, n in named) or "none was named"
