"""The arithmetic of a measurement with a clock that stands still, then real workers."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from qstudy.measure import latency, processes, worker
from qstudy.measure.statistics import Interval
from qstudy.spec import Value

FACTORY = "candidates:build"


class FakeClock:
    """Time that passes only while a call made by `taking` runs."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def taking(self, name, seconds):
        durations = iter(seconds) if isinstance(seconds, list) else None

        def call():
            self.log.append(name)
            self.now += seconds if durations is None else next(durations)

        return call


def interleaved(clock, calls, **options):
    settings = dict(rounds=10, seconds=1e9, warmup_seconds=1e9, batch=1)
    return worker.interleave(
        calls, **{**settings, **options}, order=random.Random(0), clock=clock
    )


def test_samples_are_milliseconds_per_call_one_a_round():
    clock = FakeClock()
    calls = {"a": clock.taking("a", 0.01), "b": clock.taking("b", 0.0001)}
    samples = interleaved(clock, calls)
    assert samples["a"] == pytest.approx([10.0] * 10)
    assert samples["b"] == pytest.approx([0.1] * 10)
    # A 0.1 ms call is timed ten or so at a time, a 10 ms call alone, after one untimed.
    last = "".join(clock.log)[-40:]
    assert "aab" in last or "baa" in last
    assert "bbbbbbbbbb" in last and "aaaaa" not in last


def test_rounds_are_shuffled_and_seeded():
    def order(seed):
        clock = FakeClock()
        calls = {name: clock.taking(name, 0.01) for name in "abc"}
        worker.interleave(
            calls,
            rounds=8,
            seconds=1e9,
            warmup_seconds=0,
            batch=1,
            order=random.Random(seed),
            clock=clock,
        )
        timed = "".join(clock.log)[-8 * 6 :]
        return [timed[i : i + 6 : 2] for i in range(0, len(timed), 6)]

    assert order(1) == order(1) != order(2)
    assert len(set(order(1))) > 1
    assert all(sorted(one) == ["a", "b", "c"] for one in order(1))


def test_rounds_end_with_the_budget_but_not_before_three():
    clock = FakeClock()
    one = {"a": clock.taking("a", 0.5)}
    assert len(interleaved(clock, one, seconds=5.0)["a"]) == 5
    assert len(interleaved(clock, one, seconds=0.1)["a"]) == worker.LEAST_ROUNDS
    assert len(interleaved(clock, one, seconds=0.1, rounds=2)["a"]) == 2


def test_warm_up_waits_until_steady():
    clock = FakeClock()
    falling = [9.0, *[0.5] * 3, *[0.3] * 3, *[0.2] * 3, *[0.1] * 99]
    call = clock.taking("a", falling)
    assert worker.warm_up(call, seconds=1e9, clock=clock) == 1
    # First call, three blocks that fall, three that agree.
    assert len(clock.log) == 1 + 3 * 3 + 3 * 3


def test_warm_up_ends_at_its_cap_without_counting_the_first_call():
    clock = FakeClock()
    restless = clock.taking("a", [100.0, *[0.1, 0.1, 0.1, 0.2, 0.2, 0.2] * 50])
    worker.warm_up(restless, seconds=2.0, clock=clock)
    assert 102.0 <= clock.now < 103.0


def test_a_failing_candidate_is_named():
    clock = FakeClock()
    calls = {"good": clock.taking("good", 0.01), "bad": lambda: 1 / 0}
    with pytest.raises(worker.CandidateError, match="ZeroDivisionError") as caught:
        interleaved(clock, calls, batch=4)
    assert (caught.value.candidate, caught.value.batch) == ("bad", 4)


def test_aggregate_takes_medians_in_process_order():
    answers = [
        {"a": {"1": [1.0, 2.0, 9.0]}, "b": {"1": [4.0]}},
        {"b": {"1": [6.0, 8.0]}, "a": {"1": [3.0]}},
    ]
    result = latency.aggregate(answers)
    assert result.medians == {"a": {1: (2.0, 3.0)}, "b": {1: (4.0, 7.0)}}
    found = latency.ratio(result, "b", "a")
    # The ratio of each process first, 4 / 2 and 7 / 3, then their median.
    assert found.value == pytest.approx((2 + 7 / 3) / 2) and found.n == 2
    assert found.low == 2.0 and found.high == pytest.approx(7 / 3)
    assert latency.milliseconds(result, "a").value == 2.5
    assert latency.fastest(result, ["b", "a"]) == "a"
    with pytest.raises(ValueError, match="same candidates"):
        latency.aggregate([answers[0], {"a": {"1": [1.0]}}])
    with pytest.raises(ValueError, match="no answers"):
        latency.aggregate([])


def test_values_are_timings_and_come_back():
    result = latency.LatencyResult(
        {"a": {1: (2.0, 3.0), 64: (5.0, 6.0)}, "b": {1: (4.0, 7.0), 64: (1.0, 2.0)}}
    )
    values = latency.to_values(result)
    assert values["ms/a/b64/p1"] == Value(6.0, "ms", "timing")
    assert values["ms/a/b1"].value == 2.5 and values["ms/a/b1"].low == 2.0
    other = {"size_mib": Value(1.0, "MiB", "exact")}
    shuffled = dict(sorted({**values, **other}.items(), reverse=True))
    assert latency.from_values(shuffled) == result
    with pytest.raises(ValueError, match="needs a candidate"):
        latency.from_values(other)


@pytest.mark.parametrize(
    "medians",
    [
        {},
        {"a": {}},
        {"a": {1: ()}},
        {"a": {1: (1.0,)}, "b": {2: (1.0,)}},
        {"a": {1: (1.0,)}, "b": {1: (1.0, 2.0)}},
        {"a": {1: (0.0,)}},
        {"a": {1: (float("nan"),)}},
    ],
)
def test_an_incomplete_result_is_refused(medians):
    with pytest.raises(ValueError):
        latency.LatencyResult(medians)


def test_unknown_names_are_answered_with_the_known():
    result = latency.LatencyResult({"a": {1: (1.0,), 8: (2.0,)}})
    with pytest.raises(ValueError, match=r"'x' is not one of \['a'\]"):
        latency.ratio(result, "a", "x", batch=1)
    with pytest.raises(ValueError, match=r"batch None is not one of \[1, 8\]"):
        latency.milliseconds(result, "a")
    with pytest.raises(ValueError, match="no candidates"):
        latency.fastest(result, [])


@pytest.mark.parametrize(
    "changed",
    [
        {"candidates": {}},
        {"candidates": {"a/b": {}}},
        {"factory": "candidates"},
        {"batches": []},
        {"batches": [1, 1]},
        {"batches": [0]},
        {"alone": ["b"]},
        {"threads": 0},
        {"processes": 0},
        {"rounds": 0},
    ],
)
def test_settings_are_checked_before_a_process_starts(changed, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    settings = {"candidates": {"a": {}}, "factory": FACTORY, "threads": 1, **changed}
    with pytest.raises(ValueError) as caught:
        latency.measure(settings.pop("candidates"), **settings)
    assert "\n" not in str(caught.value)


@pytest.fixture
def tiny(monkeypatch):
    """Options of a measurement that takes about a second a process."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return dict(
        factory=FACTORY,
        threads=1,
        processes=1,
        rounds=3,
        seconds=0.5,
        warmup_seconds=0.05,
        timeout=120.0,
    )


def test_real_workers_time_several_batches_in_fresh_processes(tiny):
    heard = []
    result = latency.measure(
        {
            "slow": {"kind": "sleep", "seconds": 0.004},
            "fast": {"kind": "sleep", "seconds": 0.001},
            "matmul": {"kind": "matmul"},
            "noisy": {"kind": "noisy"},
        },
        **{**tiny, "processes": 2},
        batches=[1, 4],
        progress=heard.append,
    )
    assert heard == ["process 1 of 2", "process 2 of 2"]
    assert all(len(cell) == 2 for b in result.medians.values() for cell in b.values())
    # Sleeping is never shorter than asked; how much longer depends on the machine.
    assert min(result.cell("slow", 4)) >= 16.0
    assert min(result.cell("slow", 1)) >= 4.0
    assert min(result.cell("fast", 1)) >= 1.0
    faster = latency.ratio(result, "slow", "fast", batch=4)
    assert isinstance(faster, Interval) and faster.value > 1


def test_all_are_built_before_one_is_timed(monkeypatch):
    told = []

    class Told:
        def __init__(self, job, *, timeout):
            self.number = job["process"]

        def __enter__(self):
            return self

        def __exit__(self, *error):
            told.append(("ended", self.number))

        def build(self):
            told.append(("built", self.number))

        def time(self):
            told.append(("timed", self.number))
            return {"a": {"1": [1.0 + self.number]}}

    monkeypatch.setattr(processes, "Worker", Told)
    settings = {"factory": FACTORY, "threads": 1, "processes": 3}
    assert latency.measure({"a": {}}, **settings).cell("a") == (1, 2, 3)
    assert sorted(told[:3]) == [("built", n) for n in range(3)]
    # Each ends before the next has its turn.
    turns = [(what, n) for n in range(3) for what in ("timed", "ended")]
    assert told[3:9] == turns


def test_who_changes_a_process_has_one_of_its_own(monkeypatch):
    asked = []

    def ask(job, *, timeout):
        names = "".join(candidate["name"] for candidate in job["candidates"])
        asked.append((job["process"], names, job["environment"]))
        return {name: {"1": [float(len(asked))]} for name in names}

    def take_turns(jobs, *, timeout, done):
        return [ask(job, timeout=timeout) for job in jobs]

    monkeypatch.setattr(processes, "ask", ask)
    monkeypatch.setattr(processes, "take_turns", take_turns)
    settings = {"factory": FACTORY, "threads": 1, "processes": 2}
    candidates = {name: {} for name in "abcdef"}
    environments = {"e": {"A": "1"}, "f": {"A": "1"}, "d": {"A": "1"}}
    result = latency.measure(
        candidates, **settings, alone=["b", "d"], environments=environments
    )
    turn = [("ac", {}), ("b", {}), ("d", {"A": "1"}), ("ef", {"A": "1"})]
    assert asked == [(process, *group) for process in (0, 1) for group in turn]
    assert result.cell("c") == (1, 5) and result.cell("d") == (3, 7)
    latency.measure({"b": {}}, **settings, alone=["b"])
    assert asked[8:] == [(0, "b", {}), (1, "b", {})]
    with pytest.raises(ValueError, match="candidate 'g' is not one of"):
        latency.measure(candidates, **settings, environments={"g": {}})


def test_a_worker_is_started_with_its_environment(tiny):
    candidates = {kind: {"kind": kind} for kind in ("left alone", "spinning")}
    spinning = {"OMP_WAIT_POLICY": "active"}
    latency.measure(candidates, **tiny, environments={"spinning": spinning})
    with pytest.raises(RuntimeError, match=r"'left alone' .*another environment"):
        latency.measure(candidates, **tiny, environments={"left alone": spinning})


def test_threads_reach_the_worker(tiny):
    one = latency.measure({"a": {"kind": "threads"}}, **tiny)
    three = latency.measure({"a": {"kind": "threads"}}, **{**tiny, "threads": 3})
    assert min(one.cell("a")) >= 2.0
    assert min(three.cell("a")) >= 6.0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            "raises",
            "candidate 'bad' at batch 1 failed in process 0: RuntimeError: mat1",
        ),
        ("unbuildable", "candidate 'bad' at batch 1 failed in process 0: KeyError"),
        ("dies", "process 0 ended with status 7 without an answer"),
    ],
)
def test_failures_come_back_in_one_line(tiny, bad, message):
    candidates = {"good": {"kind": "matmul"}, "bad": {"kind": bad}}
    with pytest.raises(RuntimeError) as caught:
        latency.measure(candidates, **tiny)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_factory_that_cannot_be_imported(tiny):
    with pytest.raises(RuntimeError, match=r"the worker failed .*ModuleNotFoundError"):
        latency.measure({"a": {}}, **{**tiny, "factory": "nowhere:build"})


def test_a_worker_over_time_is_ended(tiny):
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(RuntimeError, match=r"more than 4\.0 s"):
        latency.measure(
            {"a": {"kind": "sleep", "seconds": 60.0}}, **{**tiny, "timeout": 4.0}
        )
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_parent_ends_its_worker(tiny, how):
    code = (
        "from qstudy.measure import latency\n"
        "latency.measure({'a': {'kind': 'sleep', 'seconds': 60.0}}, "
        f"factory={FACTORY!r}, threads=1)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.DEVNULL,
        # A shell's background job ignores Ctrl-C, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    watched, children = psutil.Process(parent.pid), []
    deadline = time.monotonic() + 60
    while not children and time.monotonic() < deadline:
        time.sleep(0.05)
        children = watched.children(recursive=True)
    assert children
    time.sleep(3)  # Past its imports, into the timing.
    # Only the parent is told, as when a notebook's kernel is interrupted or restarted.
    os.kill(parent.pid, how)
    parent.wait(timeout=30)
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_the_worker_prints_two_lines_of_json(tiny):
    job = {
        "factory": FACTORY,
        "candidates": [{"name": "noisy", "args": {"kind": "noisy"}}],
        "batches": [2],
        "threads": 1,
        "rounds": 1,
        "seconds": 0,
        "warmup_seconds": 0,
        "seed": 0,
        "process": 0,
    }
    answer = subprocess.run(
        [sys.executable, "-m", "qstudy.measure.worker"],
        input=json.dumps(job) + "\ngo\n",
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0
    assert "descriptor 1" in answer.stderr
    built, line = io.StringIO(answer.stdout)
    assert json.loads(built) == {"built": True}
    assert list(json.loads(line)["samples"]["noisy"]) == ["2"]
