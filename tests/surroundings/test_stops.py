"""Killed anywhere, twice at once, and on a full disk: nothing is lost or half kept."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from qstudy import experiments
from qstudy.study import runner
from qstudy.study.store import Store
from qstudy.study.tree import repository
from tests.surroundings import places

# Of the smoke study the runs that are quick and whose values time nothing; the first
# is a training run, which resumes after an epoch.
TASKS = ("train", "evaluate", "agreement", "ranges", "rounding", "conventions")

TOY = """
import sys
from pathlib import Path
from qstudy import experiments
from tests.study import toy
experiments.ALL = (toy,); experiments.NAMES = ("toy",)
from qstudy.study import collect, runner
from qstudy.study.store import Store
from qstudy.study.tree import StudyError
root = Path(sys.argv[1])
store = Store(root / "work")
try:
    specs = [toy.spec(n, slow=0.05) for n in range(6)]
    runner.run_missing(specs, work=store, results=Store(root / "results"))
    collect.collect(store.root)
except StudyError as error:
    sys.exit(f"refused: {error}")
"""


def smoke_specs():
    names = ("baselines", "formulas", "static", "fusion")
    specs = [s for name in names for s in experiments.grid(name, "smoke")]
    return [s for s in specs if s.params["task"] in TASKS]


def compute(root):
    runner.run_missing(
        smoke_specs(), work=Store(root / "work"), results=Store(root / "results")
    )


def forked(root):
    """Compute in a child that has all modules imported; its process id."""
    child = os.fork()
    if child:
        return child
    try:
        with open(os.devnull, "w") as silence:
            os.dup2(silence.fileno(), 1)
            os.dup2(silence.fileno(), 2)
        compute(root)
    finally:
        os._exit(0)


def kept(root):
    store = Store(root / "work")
    return {
        record.spec: (dict(record.values), dict(record.artifacts))
        for name in experiments.NAMES
        for record in store.records(name, experiments.by_name(name).VERSION)
    }


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_smoke_study_killed_at_20_points_ends_with_equal_results(tmp_path):
    import torch

    torch.set_num_threads(1)
    started = time.monotonic()
    compute(tmp_path / "once")
    whole = time.monotonic() - started
    draw, killed = random.Random(3), 0
    for _ in range(20):
        child = forked(tmp_path / "often")
        time.sleep(draw.uniform(0.0, whole / 8))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
    assert killed >= 10
    compute(tmp_path / "often")
    once, often = kept(tmp_path / "once"), kept(tmp_path / "often")
    assert len(once) == len(smoke_specs()) >= 7
    assert once == often
    left = [p for p in (tmp_path / "often").rglob("*") if "resume" in p.parts[-2:]]
    assert left in ([], [tmp_path / "often" / "work" / "resume"])


def environment():
    return {**os.environ, "PYTHONPATH": os.fspath(repository())}


def toy(root, *prefix):
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", TOY, os.fspath(root)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def toy_records(root):
    return {r.spec.key: dict(r.values) for r in Store(root / "work").records("toy", 1)}


def timeless(values):
    return {k: v for k, v in values.items() if v.kind != "timing"}


def test_two_processes_at_once_on_one_work_tree(tmp_path):
    both = [toy(tmp_path / "two"), toy(tmp_path / "two")]
    alone = toy(tmp_path / "one")
    for process in (*both, alone):
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    one, two = toy_records(tmp_path / "one"), toy_records(tmp_path / "two")
    assert len(one) == 6 and one.keys() == two.keys()
    assert all(timeless(one[key]) == timeless(two[key]) for key in one)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_is_one_line_and_the_rest_is_done_later(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    namespace = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
    # A file of another sort fills the small disk until there is little room left.
    script = (
        f"mount -t tmpfs -o size=96k none '{disk}' && "
        f"head -c 60000 /dev/zero > '{disk}/other' && "
    )
    if not places.works([*namespace, "sh", "-c", f"{script} true"]):
        pytest.skip("no right to mount a small tmpfs here")
    run = f'"{sys.executable}" -c "$TOY" "{disk}"'
    done = subprocess.run(
        [*namespace, "sh", "-c", f"{script} {run}; rm '{disk}/other'; "
         f"mount -o remount,size=8m '{disk}'; find '{disk}' -name '*.partial' >&2; "
         f"{run}; cp -r '{disk}/work' '{tmp_path}/kept'"],
        env={**environment(), "TOY": TOY},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    refused = [x for x in done.stderr.splitlines() if x.startswith("refused: ")]
    assert len(refused) == 1 and "No space left on device" in refused[0], done.stderr
    assert ".partial" not in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "all").mkdir()
    (tmp_path / "kept").rename(tmp_path / "all" / "work")
    assert len(toy_records(tmp_path / "all")) == 6


def test_without_a_loopback_interface_a_kernel_starts(tmp_path):
    prefix = ["unshare", "-n"] if os.getuid() == 0 else ["unshare", "-rn"]
    if not places.works([*prefix, "true"]):
        pytest.skip("no right to make a network namespace here")
    script = (
        "import nbformat, nbclient\n"
        "from qstudy.study.kernels import OwnKernel\n"
        "cell = nbformat.v4.new_code_cell('print(6 * 7)')\n"
        "notebook = nbformat.v4.new_notebook(cells=[cell])\n"
        "nbclient.NotebookClient(notebook, kernel_name='python3', "
        "kernel_manager_class=OwnKernel).execute()\n"
        "print(cell.outputs[0].text)"
    )
    done = places.python("-c", script, cwd=tmp_path, env=environment(), prefix=prefix)
    assert done.stdout.strip() == "42", done.stderr
    assert done.stderr == ""
