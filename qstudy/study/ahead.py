"""Runs that time nothing, computed two at a time before the chapters ask for them.

Most of a run is Python, reading and kernels too small for two threads, so two at once
take about two thirds of the time. What is timed is left to the chapters, one after the
other on a machine that does nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path

from qstudy.study import plan
from qstudy.study.store import Store
from qstudy.study.tree import StudyError

AT_ONCE = 2
# Threads that wait for work sleep, since those of the other process may need the core.
_PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def compute(
    steps: Iterable[plan.Step],
    *,
    work: Store,
    results: Store,
    log: Path,
    done: Callable[[plan.Step, int, int], None],
) -> int:
    """Compute those of `steps` that time nothing; return how many there were.

    `done` is called after each with the step, its number and their count. A run whose
    parent is among `steps` too is left to its chapter. `log` takes what they print.
    Raises StudyError, one line that names the run, where one fails; those that have
    ended are kept.
    """
    chosen = [step for step in steps if not step.alone and not step.parents]
    # The longest first, so that the two end at about the same time.
    chosen.sort(key=lambda step: -(step.seconds or 0.0))
    with (
        _patient(),
        ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool,
    ):
        running = {
            pool.submit(_run, step.spec.as_dict(), work.root, results.root, log): step
            for step in chosen
        }
        for number, future in enumerate(as_completed(running), start=1):
            step = running[future]
            try:
                future.result()
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, KeyboardInterrupt):
                    raise
                raise StudyError(
                    f"run {step.spec.key[:12]} ({step.spec.experiment}) failed: "
                    f"{type(error).__name__}: {error}"
                ) from error
            done(step, number, len(chosen))
    return len(chosen)


def _run(spec: dict, work: Path, results: Path, log: Path) -> None:
    """In a process of the pool: one run, what it prints appended to `log`."""
    from qstudy.spec import RunSpec
    from qstudy.study import runner

    with (
        open(log, "a", encoding="utf-8") as printed,
        redirect_stdout(printed),
        redirect_stderr(printed),
    ):
        runner.run_missing(
            [RunSpec.from_dict(spec)], work=Store(work), results=Store(results)
        )


@contextmanager
def _patient() -> Iterator[None]:
    """The environment that the pool's processes start with."""
    before = {name: os.environ.get(name) for name in _PATIENT}
    os.environ.update(_PATIENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
