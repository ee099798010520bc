"""Timing workers from the outside: started, built side by side, timed one by one.

To start a worker takes seconds of work on one core, imports and compilers above all,
and has no part in what is timed. So a few are built at a time, wait, and are then given
their turns while nothing else runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Timer
from types import TracebackType
from typing import Any, Self

import psutil

# How many are built at a time: the cores of the smallest machine that is thought of.
BUILT_AT_ONCE = 2
Samples = dict[str, dict[str, list[float]]]


class Worker:
    """One fresh process of a measurement; as a context manager it ends with its block.

    `job` as in qstudy.measure.worker; `timeout` in seconds, for building and for timing
    each. RuntimeError, one line, where that runs out, where a candidate fails (with its
    name) or where the process ends without an answer.
    """

    def __init__(self, job: Mapping[str, Any], *, timeout: float) -> None:
        self.where, self.timeout = f"process {job['process']}", timeout
        self.printed = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "qstudy.measure.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.printed,
            text=True,
            env={
                **os.environ,
                # Libraries that size their pools at import see torch's number.
                "OMP_NUM_THREADS": str(job["threads"]),
                # Inductor's own processes each import torch to compile a few lines.
                "TORCHINDUCTOR_COMPILE_THREADS": "1",
                **job.get("environment", {}),
            },
        )
        self._tell(json.dumps(job))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        sort: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After Ctrl-C or a timeout the worker, and compilers it started, still run.
        _kill(self.process)
        for pipe in (self.process.stdin, self.process.stdout, self.printed):
            with suppress(BrokenPipeError):  # what was written is read by nobody
                pipe.close()

    def build(self) -> None:
        """Wait until every candidate is built and has been called once."""
        if "built" not in (reply := self._answer()):
            self._raise(reply)

    def time(self) -> Samples:
        """Give the worker its turn; its samples, as in qstudy.measure.worker."""
        self._tell("go")
        if "samples" not in (reply := self._answer()):
            self._raise(reply)
        return reply["samples"]

    def _tell(self, line: str) -> None:
        # One that has ended is told of where its answer is read.
        with suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        late: list[bool] = []

        def end() -> None:
            late.append(True)
            _kill(self.process)

        timer = Timer(self.timeout, end)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if late:
            raise RuntimeError(
                f"{self.where} took more than {self.timeout} s; time fewer candidates "
                "or raise timeout"
            )
        try:
            return json.loads(line)
        except json.JSONDecodeError as error:
            self.process.wait()
            self.printed.seek(0)
            said = self.printed.read().strip().splitlines() or ["it said nothing"]
            raise RuntimeError(
                f"{self.where} ended with status {self.process.returncode} without an "
                f"answer: {said[-1]}"
            ) from error

    def _raise(self, reply: Mapping[str, Any]) -> None:
        name, batch = reply["candidate"], reply["batch"]
        who = f"candidate {name!r} at batch {batch}" if name else "the worker"
        raise RuntimeError(f"{who} failed in {self.where}: {reply['error']}")


def ask(job: Mapping[str, Any], *, timeout: float) -> Samples:
    """The samples of one job, run in a fresh process; errors as `Worker`."""
    with Worker(job, timeout=timeout) as worker:
        worker.build()
        return worker.time()


def take_turns(
    jobs: Sequence[Mapping[str, Any]],
    *,
    timeout: float,
    done: Callable[[int], None] = lambda number: None,
) -> list[Samples]:
    """The samples of each job, in a fresh process each; errors as `Worker`.

    All are built before the first is timed, so all are in memory at once. `done` is
    called with the number of a job (from 0) that has been timed.
    """
    with ThreadPoolExecutor(BUILT_AT_ONCE) as pool, ExitStack() as stack:

        def started(job: Mapping[str, Any]) -> Worker:
            worker = stack.enter_context(Worker(job, timeout=timeout))
            worker.build()
            return worker

        try:
            workers = list(pool.map(started, jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        answers = []
        for number, worker in enumerate(workers):
            with worker:
                answers.append(worker.time())
            done(number)
        return answers


def _kill(worker: subprocess.Popen[str]) -> None:
    """End a worker that still runs, and its children; does nothing to an ended one."""
    if worker.poll() is not None:
        return
    with suppress(psutil.NoSuchProcess):  # It, or a child, may end by itself meanwhile.
        tree = psutil.Process(worker.pid)
        for process in [*tree.children(recursive=True), tree]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    worker.wait()
