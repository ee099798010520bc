"""The runs of the study, in processes of their own, before the book asks for them.

What times nothing is computed two runs at a time: most of a run is Python, reading and
kernels too small for two threads, so two at once take about two thirds of the time.
What is timed, and what starts from a run that is still missing, comes one after the
other on a machine that does nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path

from qstudy.study import plan
from qstudy.study.store import Store
from qstudy.study.tree import StudyError

AT_ONCE = 2
# Threads that wait for work sleep, since those of the other process may need the core.
_PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
# Told of a step, its number from 1, and how many there are.
Told = Callable[[plan.Step, int, int], None]


def two_at_a_time(steps: Iterable[plan.Step]) -> list[plan.Step]:
    """Those of `steps` that time nothing and start from nothing that is missing.

    The longest first, so that the two processes end at about the same time.
    """
    chosen = [step for step in steps if not step.alone and not step.parents]
    return sorted(chosen, key=lambda step: -(step.seconds or 0.0))


def compute(
    steps: Iterable[plan.Step], *, work: Store, results: Store, log: Path, done: Told
) -> int:
    """Compute those of `steps` that `two_at_a_time` names; return how many there were.

    `done` is called after each. `log` takes what they print. Raises StudyError, one
    line that names the run, where one fails; those that have ended are kept.
    """
    chosen = two_at_a_time(steps)
    with _patient(), _pool(AT_ONCE) as pool:
        running = {
            pool.submit(_run, step.spec.as_dict(), work.root, results.root, log): step
            for step in chosen
        }
        for number, future in enumerate(as_completed(running), start=1):
            _finished(future, running[future], pool)
            done(running[future], number, len(chosen))
    return len(chosen)


def compute_the_rest(
    steps: Iterable[plan.Step], *, work: Store, results: Store, log: Path, begun: Told
) -> int:
    """Compute the others of `steps`, one after the other in their order; how many.

    `begun` is called before each; the rest as `compute`.
    """
    steps = list(steps)
    elsewhere = two_at_a_time(steps)
    rest = [step for step in steps if step not in elsewhere]
    with _pool(1) as pool:
        for number, step in enumerate(rest, start=1):
            begun(step, number, len(rest))
            where = (work.root, results.root, log)
            _finished(pool.submit(_run, step.spec.as_dict(), *where), step, pool)
    return len(rest)


def _pool(processes: int) -> ProcessPoolExecutor:
    """Each process imports torch once, for all its runs."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def _finished(future: Future, step: plan.Step, pool: ProcessPoolExecutor) -> None:
    """Wait for a run; where it failed, start no other and say which it was."""
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
    """The environment that the processes of two runs at a time start with."""
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
