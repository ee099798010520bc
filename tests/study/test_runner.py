"""Missing runs are computed once, parents first; kills and changes lose nothing."""

import random
import signal
import subprocess
import sys
import time

import pytest

from qstudy.study import plan, runner
from qstudy.study.store import Store
from qstudy.study.tree import StudyError

SCRIPT = """
import sys
from pathlib import Path
from qstudy import experiments
from tests.study import toy
experiments.ALL = (toy,); experiments.NAMES = ("toy",)
from qstudy.study import runner
from qstudy.study.store import Store
root = Path(sys.argv[1])
specs = [toy.spec(n, slow=0.15) for n in range(6)]
print("ready", flush=True)
runner.run_missing(specs, work=Store(root / "work"), results=Store(root / "results"))
"""


def test_a_second_call_computes_nothing(filled, toys):
    assert runner.run_missing(toys.grid("full"), **filled) == 0


def test_a_parent_is_computed_before_its_child(stores, toys):
    child = toys.spec(1, parent=toys.spec(0))
    assert runner.run_missing([child], **stores) == 2
    assert stores["work"].read(child)["start"] == 2.0


def test_a_parent_in_results_serves_and_is_said(stores, toys):
    parent = toys.spec(0)
    published = Store(stores["results"].root)
    runner.run_one(parent, work=published, results=published)
    child = toys.spec(1, parent=parent)
    assert runner.run_missing([child], **stores) == 1
    assert stores["work"].read(child).origin == "from-checkpoint"


def test_a_changed_parent_makes_the_child_stale(filled, toys, capsys):
    parent, child = toys.grid("full")[:2]
    work = filled["work"]
    assert not runner.stale_reason(work.read(child), **filled)
    record = work.path(parent)
    sha = next(iter(work.read(parent).artifacts.values()))
    text = record.read_text()
    for sha in work.read(parent).artifacts.values():
        text = text.replace(sha, "0" * 64)
    record.write_text(text.replace('"arrays": "' + "0" * 64 + '",', ""))
    assert "is now 000000000000" in runner.stale_reason(work.read(child), **filled)
    capsys.readouterr()
    assert child in runner.missing(toys.grid("full"), **filled)
    assert "stale: toy" in capsys.readouterr().err


def test_a_missing_parent_is_named_with_the_way_out(stores, toys):
    context = runner.RunContext(**stores, resume=stores["work"].root / "resume")
    with pytest.raises(StudyError, match=r"qstudy run --only"):
        context.checkpoint(toys.spec(0))


def test_killed_at_random_points_and_resumed_gives_the_same(tmp_path, toys):
    draw = random.Random(7)
    command = [sys.executable, "-c", SCRIPT]
    once = tmp_path / "once"
    subprocess.run([*command, once], check=True, capture_output=True)
    often = tmp_path / "often"
    killed = 0
    for _ in range(20):
        process = subprocess.Popen(
            [*command, often], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        process.stdout.readline()
        time.sleep(draw.uniform(0.05, 0.4))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.stdout.close()
        killed += process.wait() == -signal.SIGKILL
        if not killed_left(often):
            break
    subprocess.run([*command, often], check=True, capture_output=True)
    assert killed >= 2
    for store in (Store(once / "work"), Store(often / "work")):
        assert len(store.records("toy", 1)) == 6
    for one, other in zip(
        Store(once / "work").records("toy", 1),
        Store(often / "work").records("toy", 1),
        strict=True,
    ):
        assert dict(one.values).keys() == dict(other.values).keys()
        assert one.values == other.values
        assert one.artifacts == other.artifacts


def killed_left(root):
    return len(list((root / "work" / "runs").glob("*/*.json"))) < 6


def test_ctrl_c_keeps_finished_runs(stores, toys, monkeypatch):
    original = toys.run

    def interrupted(spec, ctx):
        if spec.params["number"] == 4:
            raise KeyboardInterrupt
        return original(spec, ctx)

    monkeypatch.setattr(toys, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run_missing(toys.grid("full"), **stores)
    assert len(stores["work"].records("toy", 1)) == 4


def test_resume_state_comes_from_results_partial(stores, toys, monkeypatch):
    spec = toys.spec(5)
    carried = stores["results"].root / "partial" / spec.key
    carried.mkdir(parents=True)
    (carried / "state").write_text("epoch 3")
    seen = []
    original = toys.run

    def watched(spec, ctx):
        seen.append((ctx.resume / "state").read_text())
        return original(spec, ctx)

    monkeypatch.setattr(toys, "run", watched)
    runner.run_one(spec, **stores)
    assert seen == ["epoch 3"]
    assert not (stores["work"].root / "resume" / spec.key).exists()


def test_plan_knows_what_is_missing_and_how_long(filled, toys, tmp_path):
    empty = Store(tmp_path / "empty")
    specs = toys.grid("full")
    steps = plan.plan(specs, work=empty, results=filled["work"])
    assert [s.spec for s in steps] == specs
    assert all(s.seconds is not None for s in steps)
    assert "8 of 8 runs are missing" in plan.as_text(steps, specs)
    unknown = plan.plan(specs, work=empty, results=empty)
    assert "unknown" in plan.as_text(unknown, specs)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", ""])
def test_a_wrong_shard_is_refused(toys, shard):
    with pytest.raises(ValueError, match=r"is not i/n"):
        plan.part(toys.grid("full"), shard)


def test_shards_cover_every_run_once(toys):
    specs = toys.grid("full")
    parts = [plan.part(specs, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(s.key for p in parts for s in p) == sorted(s.key for s in specs)


def test_only_takes_one_key(toys):
    specs = toys.grid("full")
    assert plan.matching(specs, specs[3].key[:16]) == [specs[3]]
    with pytest.raises(ValueError, match=r"matches 0 runs"):
        plan.matching(specs, "zz")
    with pytest.raises(ValueError, match=f"matches {len(specs)} runs"):
        plan.matching(specs, "")
