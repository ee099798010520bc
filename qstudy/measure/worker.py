"""One fresh process of a latency measurement: `python -m qstudy.measure.worker`.

Reads one job as a line of JSON from stdin. When every candidate has been built and
called once, which is when compilers work, it says so and waits for a line: its turn.
Then it times them. What candidates print goes to stderr. The parent's side of the
conversation is qstudy.measure.processes.

    job     {"factory": "module:function", "candidates": [{"name", "args": {}}],
             "batches": [1, 64], "threads", "rounds", "seconds", "warmup_seconds",
             "seed", "process", "environment": {}, which it was started with}
    then    {"built": true}, and a line is read
    answer  {"samples": {candidate: {batch: [ms per call, one a round]}}}
    or      {"error": one line, "candidate": name or null, "batch": int or null}

`factory(batch=..., **args)` builds one candidate and returns the callable of no
arguments that is timed: inputs made, inference mode and compiler settings inside it.
"""

from __future__ import annotations

import gc
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from statistics import median
from threading import Thread
from typing import Any

Call = Callable[[], object]
Clock = Callable[[], float]

# A sample spans at least this long, so that reading the clock costs nothing beside it.
SAMPLE_SECONDS = 1e-3
LEAST_ROUNDS = 3
# Warm is: the medians of this many consecutive blocks of samples agree this well.
WARM_BLOCKS = 3
BLOCK_SAMPLES = 3
WARM_AGREEMENT = 0.05


class CandidateError(Exception):
    """A candidate failed: its name, the batch size, and what it raised in one line."""

    def __init__(self, candidate: str, batch: int, cause: Exception) -> None:
        super().__init__(one_line(cause))
        self.candidate, self.batch = candidate, batch


def sample(call: Call, *, calls: int, clock: Clock = time.perf_counter) -> float:
    """Seconds per call over `calls` calls in a row."""
    started = clock()
    for _ in range(calls):
        call()
    return (clock() - started) / calls


def warm_up(call: Call, *, seconds: float, clock: Clock = time.perf_counter) -> int:
    """Call until the time is steady; gives the calls that make up one sample.

    Steady: the medians of the last WARM_BLOCKS blocks of BLOCK_SAMPLES samples lie
    within WARM_AGREEMENT of each other, or `seconds` have passed. The first call, which
    may compile, counts towards neither.
    """
    call()
    started, calls, medians = clock(), 1, []
    while True:
        block = median(
            sample(call, calls=calls, clock=clock) for _ in range(BLOCK_SAMPLES)
        )
        # Compilers and caches make later calls shorter, so the number of calls grows.
        calls = max(calls, math.ceil(SAMPLE_SECONDS / max(block, 1e-9)))
        medians.append(block)
        last = medians[-WARM_BLOCKS:]
        steady = max(last) <= (1 + WARM_AGREEMENT) * min(last)
        if len(last) == WARM_BLOCKS and steady:
            return calls
        if clock() - started >= seconds:
            return calls


def interleave(
    calls: Mapping[str, Call],
    *,
    rounds: int,
    seconds: float,
    warmup_seconds: float,
    order: random.Random,
    batch: int,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """ms per call of every candidate, one sample a round, all in one process.

    Every candidate is warmed up, then each round takes one sample of each in a fresh
    order, so that whatever drifts (heat, neighbours) hits all alike. Before its sample
    a candidate is called once untimed, since the caches still hold the one before it.
    Stops after `rounds`, or after the round in which `seconds` ran out, but not before
    LEAST_ROUNDS (or `rounds`, if fewer). CandidateError where a candidate raises.
    """
    name = ""
    samples: dict[str, list[float]] = {candidate: [] for candidate in calls}
    gc.collect()
    gc.disable()
    try:
        sizes = {}
        for name, call in calls.items():
            sizes[name] = warm_up(call, seconds=warmup_seconds, clock=clock)
        started = clock()
        for done in range(rounds):
            if done >= LEAST_ROUNDS and clock() - started >= seconds:
                break
            for name in order.sample(list(calls), len(calls)):
                calls[name]()
                taken = sample(calls[name], calls=sizes[name], clock=clock)
                samples[name].append(1000 * taken)
    except Exception as error:  # Whatever it is, its candidate has to be named.
        raise CandidateError(name, batch, error) from error
    finally:
        gc.enable()
    return samples


def run(
    job: Mapping[str, Any], *, turn: Callable[[], None] = lambda: None
) -> dict[str, dict[str, list[float]]]:
    """Samples of all candidates and batch sizes of a job; see the module's answer.

    `turn` is called once, before anything is timed, when the candidates of the first
    batch size are built; it may wait. The batch sizes come one after the other;
    candidates are built anew for each, from the same torch seed. CandidateError where
    building or calling one fails.
    """
    import torch

    torch.set_num_threads(job["threads"])
    # Compilers make many objects that stay, and looking through them again and again
    # for garbage takes a sixth of their time. Nothing is collected while timing.
    gc.set_threshold(100_000)
    module, _, function = job["factory"].partition(":")
    factory = getattr(import_module(module), function)
    samples: dict[str, dict[str, list[float]]] = {}
    for batch in job["batches"]:
        if "torch._dynamo" in sys.modules:
            # Else what was compiled for one batch size is compiled for any size next.
            torch.compiler.reset()
        calls = {}
        for candidate in job["candidates"]:
            torch.manual_seed(job["seed"])
            try:
                built = factory(batch=batch, **candidate["args"])
            except Exception as error:  # As above: named, whatever it is.
                raise CandidateError(candidate["name"], batch, error) from error
            calls[candidate["name"]] = built
        if batch == job["batches"][0]:
            for name, call in calls.items():
                try:
                    call()
                except Exception as error:  # As above.
                    raise CandidateError(name, batch, error) from error
            turn()
        timed = interleave(
            calls,
            rounds=job["rounds"],
            seconds=job["seconds"],
            warmup_seconds=job["warmup_seconds"],
            order=random.Random(f"{job['seed']}/{job['process']}/{batch}"),
            batch=batch,
        )
        for name, taken in timed.items():
            samples.setdefault(name, {})[str(batch)] = taken
    return samples


def one_line(error: Exception) -> str:
    """The type and the message of an error, white space folded, at most 500 long."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _end_with(parent: int) -> None:
    """End this process soon after `parent` was killed: nobody reads its answer, and it
    would slow down whatever is timed next."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> int:
    """Answer one job; the exit status is 0, or 1 after an error."""
    # Libraries print to descriptor 1 from C++ as well (oneDNN's verbose mode does), so
    # the real stdout is set aside and 1 leads to stderr from here on.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()

    def turn() -> None:
        answer.write(json.dumps({"built": True}) + "\n")
        answer.flush()
        sys.stdin.readline()

    try:
        job = json.loads(sys.stdin.readline())
        reply: dict[str, Any] = {"samples": run(job, turn=turn)}
    except CandidateError as error:
        reply = {
            "error": str(error),
            "candidate": error.candidate,
            "batch": error.batch,
        }
    except Exception as error:  # The parent cannot see it otherwise: it reads stdout.
        reply = {"error": one_line(error), "candidate": None, "batch": None}
    with answer:
        answer.write(json.dumps(reply) + "\n")
    return 1 if "error" in reply else 0


if __name__ == "__main__":
    sys.exit(main())
