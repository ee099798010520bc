"""Runs two at a time: which are taken, which are left, and what a failure does."""

from dataclasses import replace

import pytest

from qstudy.experiments.formulas.grid import _spec
from qstudy.study import ahead, plan, runner
from qstudy.study.store import Store
from qstudy.study.tree import StudyError

QUICK = [
    _spec("overflow"),
    _spec("conventions"),
    _spec("operators", engine="fbgemm", cases=1),
]


@pytest.fixture
def stores(tmp_path):
    return {"work": Store(tmp_path / "work"), "results": Store(tmp_path / "results")}


def steps(specs, work, **how):
    return [plan.Step(s, 1.0, work.path(s), **how) for s in specs]


def test_two_at_a_time_gives_what_one_after_the_other_gives(stores, tmp_path):
    told, log = [], tmp_path / "log"
    count = ahead.compute(
        steps(QUICK, stores["work"]),
        log=log,
        done=lambda step, number, of: told.append((step.spec.key, number, of)),
        **stores,
    )
    assert count == len(QUICK)
    assert [n for _, n, _ in told] == [1, 2, 3] and {of for *_, of in told} == {3}
    assert {key for key, *_ in told} == {s.key for s in QUICK}
    alone = Store(tmp_path / "alone")
    runner.run_missing(QUICK, work=alone, results=stores["results"])
    for spec in QUICK:
        expected, found = alone.read(spec), stores["work"].read(spec)
        assert found.values == expected.values
    assert log.read_text(encoding="utf-8").count("run 1 of 1") == len(QUICK)


def test_timed_runs_and_those_with_a_parent_to_come_are_left(stores, tmp_path):
    left = steps(QUICK[:1], stores["work"], alone=True)
    left += steps(QUICK[1:2], stores["work"], parents=("0" * 64,))
    done = []
    options = {"log": tmp_path / "log", "done": lambda *told: done.append(told)}
    assert ahead.compute(left, **options, **stores) == 0
    assert not done and stores["work"].read(QUICK[0]) is None
    # They are the rest, told before each and taken in their order.
    begun = []
    count = ahead.compute_the_rest(
        [*left, *steps(QUICK[2:], stores["work"])],
        log=tmp_path / "log",
        begun=lambda step, number, of: begun.append((step.spec, number, of)),
        **stores,
    )
    assert begun == [(QUICK[0], 1, 2), (QUICK[1], 2, 2)] and count == 2
    assert all(stores["work"].read(spec) is not None for spec in QUICK[:2])
    assert stores["work"].read(QUICK[2]) is None


def test_a_failure_is_one_line_that_names_the_run_and_keeps_the_others(
    stores, tmp_path
):
    bad = replace(QUICK[0], params={**QUICK[0].params, "task": "guess"})
    log = tmp_path / "log"
    with pytest.raises(StudyError, match=f"run {bad.key[:12]} .* task 'guess' is not"):
        ahead.compute(
            steps([QUICK[1], bad], stores["work"]), log=log, done=print, **stores
        )
    again = steps([QUICK[1]], stores["work"])
    ahead.compute(again, log=log, done=lambda *told: None, **stores)
    assert stores["work"].read(QUICK[1]) is not None
