"""The grid by Snakemake: two workers, killed, resumed; no run is computed twice."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from qstudy import experiments
from qstudy.study import plan
from qstudy.study.store import Store
from qstudy.study.tree import repository

ROOT = repository()
SNAKEFILE = ROOT / "workflow" / "Snakefile"
# That of the extra lies beside this Python, which need not be on the PATH.
PLACES = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
SNAKEMAKE = shutil.which("snakemake", path=os.pathsep.join(PLACES))
EXPERIMENT = "fusion"  # small runs of one parent, two of which need all cores
needed = pytest.mark.skipif(
    not SNAKEMAKE,
    reason="no snakemake here: .venv/bin/pip install -e '.[cluster]', or put one of "
    "another environment on the PATH",
)


@pytest.fixture
def snakemake(tmp_path):
    """Starts Snakemake on one experiment in smoke mode; gives the process."""

    def start(*options, mode="smoke"):
        command = [SNAKEMAKE, "--snakefile", SNAKEFILE, "--cores", "2"]
        command += ["--directory", tmp_path, *options, "--config", f"mode={mode}"]
        command += [f"experiment={EXPERIMENT}", f"qstudy={sys.executable} -m qstudy"]
        return subprocess.Popen(
            list(map(os.fspath, command)),
            env={**os.environ, "QSTUDY_WORK": os.fspath(tmp_path / "work")}
            | {"PYTHONPATH": os.fspath(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start


def records(folder):
    """Each finished run and when its record was written."""
    found = (folder / "work" / "smoke" / "runs").glob("*/*.json")
    return {path.stem: path.stat().st_mtime_ns for path in found}


@needed
def test_killed_and_resumed_no_run_is_computed_twice(snakemake, tmp_path):
    wanted = {spec.key for spec in experiments.grid(EXPERIMENT, "smoke")}
    running = snakemake()
    deadline = time.monotonic() + 1800  # a machine may be busy
    while len(records(tmp_path)) < 2 and time.monotonic() < deadline:
        assert running.poll() is None, running.stdout.read()[-3000:]
        time.sleep(0.2)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    time.sleep(1)  # its jobs are in its process group and end with it
    first = records(tmp_path)
    assert 2 <= len(first) < len(wanted)
    unlocking = snakemake("--unlock")
    unlocking.communicate()
    assert unlocking.returncode == 0
    resumed = snakemake()
    told = resumed.communicate()[0]
    assert resumed.returncode == 0, told[-3000:]
    last = records(tmp_path)
    assert wanted <= set(last)
    # What was finished before the kill was not touched.
    assert {key: last[key] for key in first} == first
    logs = {p.stem: p.read_text() for p in tmp_path.glob("work/cluster/logs/*/*.log")}
    for key in set(last) - set(first):
        assert logs[key].count("run 1 of 1: ") in (1, 2)  # 2: killed in the middle
        assert "run 2 of" not in logs[key], "a job computed its parent as well"
    for key in first:
        assert logs[key].count("run 1 of 1: ") == 1
    third = snakemake()
    third.communicate()
    assert third.returncode == 0
    assert records(tmp_path) == last


@needed
def test_a_plan_that_fails_is_told(snakemake, tmp_path):
    done = snakemake(mode="fast")
    assert "failed, as told above" in done.communicate()[0]
    assert done.returncode != 0


def test_the_plan_names_record_parents_and_what_runs_alone(filled, toys, tmp_path):
    empty = Store(tmp_path / "empty")
    specs = toys.grid("full")
    steps = plan.as_json(plan.plan(specs, work=empty, results=Store(tmp_path / "none")))
    child = next(s for s in steps if "parent" in s["spec"]["params"])
    assert child["parents"] == [specs[0].key]
    assert [s["key"] for s in steps].index(specs[0].key) < steps.index(child)
    assert child["record"] == os.fspath(empty.path(specs[1]))
    assert not child["alone"]  # no record tells of a timing
    steps = plan.plan(specs, work=empty, results=filled["work"])
    assert all(s.alone for s in steps)
    done = plan.plan(specs[1:2], work=filled["work"], results=empty)
    assert done == []


def test_a_missing_parent_of_no_grid_is_planned_too(toys, tmp_path):
    child = toys.spec(1, parent=toys.spec(99))
    stores = {"work": Store(tmp_path / "a"), "results": Store(tmp_path / "b")}
    assert [s.spec for s in plan.plan([child], **stores)] == [toys.spec(99), child]


def test_the_slurm_profile_names_rules_that_exist():
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    rules = set(re.findall(r"^rule (\w+):", SNAKEFILE.read_text(), re.MULTILINE))
    assert set(profile["set-resources"]) <= rules
    assert json.dumps(profile["default-resources"]).count("=") == 4
