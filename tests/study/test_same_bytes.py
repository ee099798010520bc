"""What is derived has the same bytes whichever processor derives it.

Processors are emulated in fresh processes: OpenBLAS, NumPy and the C library each take
by environment the code that they would take elsewhere. What this machine lacks it
cannot emulate; such a process then runs as this machine does, or is left out.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qstudy.study.tree import repository
from tests.report.test_figures import HOSTILE

RESULTS = repository() / "results"
FEATURES = np._core._multiarray_umath.__cpu_features__
DISPATCHED = np._core._multiarray_umath.__cpu_dispatch__
# Newest first: NumPy refuses to do without a feature that another one needs.
WIDE = [f for f in reversed(DISPATCHED) if re.match(r"AVX512|X86_V4|AVX10", f)]
ABOVE_BASELINE = [*reversed(DISPATCHED)]


def without(features):
    """NumPy's environment without `features`, of those that this machine has."""
    there = [f for f in features if FEATURES.get(f)]
    return {"NPY_DISABLE_CPU_FEATURES": ",".join(there)} if there else {}


def threads(count):
    return {"OMP_NUM_THREADS": str(count), "OPENBLAS_NUM_THREADS": str(count)}


# glibc's exp, log, sin and pow without fused multiply-add differ in the last bit.
PLAIN_LIBM = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4"}
# OPENBLAS_CORETYPE is read by NumPy's OpenBLAS and by SciPy's own.
PROCESSORS = {
    "this machine, 2 threads": threads(2),
    "Prescott, no AVX2, no FMA": {
        "OPENBLAS_CORETYPE": "Prescott",
        **without(ABOVE_BASELINE),
        **PLAIN_LIBM,
        **threads(1),
    },
    "Haswell, no AVX-512": {
        "OPENBLAS_CORETYPE": "Haswell",
        **without(WIDE),
        **threads(2),
    },
    "Zen, no AVX-512, a hostile matplotlibrc": {
        "OPENBLAS_CORETYPE": "Zen",
        "MATPLOTLIBRC": "matplotlibrc",
        **without(WIDE),
        **threads(1),
    },
    "SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX", **threads(1)},
}
NEEDED = {"Haswell": "AVX2", "Zen": "AVX2", "SkylakeX": "AVX512F"}


def possible(environment):
    """Whether this machine has the instructions that OpenBLAS is told to use."""
    needed = NEEDED.get(environment.get("OPENBLAS_CORETYPE"))
    return needed is None or FEATURES.get(needed, False)


def run(arguments, environment):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=repository(),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def derived(tmp_path_factory):
    """Processor -> {file: bytes} of all that was derived under it."""
    found = {}
    for name, environment in PROCESSORS.items():
        if not possible(environment):
            continue
        tree = tmp_path_factory.mktemp("tree")
        for folder in ("runs", "systems", "checkpoints", "agreement"):
            if (RESULTS / folder).exists():
                (tree / folder).symlink_to(RESULTS / folder)
        if "MATPLOTLIBRC" in environment:
            # Beside the tree, so that it is no derived file.
            user = tree.with_suffix(".matplotlibrc")
            user.write_text(HOSTILE)
            environment = {**environment, "MATPLOTLIBRC": os.fspath(user)}
        run(["-m", "tests.study.derive", os.fspath(tree)], environment)
        folders = [tree / part for part in ("tables", "figures", "cards")]
        files = [p for folder in folders for p in folder.iterdir()]
        files += [p for p in tree.iterdir() if p.is_file()]
        found[name] = {p.relative_to(tree): p.read_bytes() for p in files}
    return found


@pytest.mark.parametrize("name", [*PROCESSORS][1:])
def test_every_derived_file_has_the_same_bytes(derived, name):
    if name not in derived:
        pytest.skip(f"this processor lacks the instructions of {name}")
    here, there = derived["this machine, 2 threads"], derived[name]
    assert {p.suffix for p in here} >= {".csv", ".svg", ".json", ".md"}
    assert sorted(here) == sorted(there)
    assert [p for p in here if here[p] != there[p]] == []


def test_the_committed_files_are_those_bytes(derived):
    for path, content in derived["this machine, 2 threads"].items():
        if path != Path("derived.json"):
            assert (RESULTS / path).read_bytes() == content, path


def test_the_emulated_processors_are_not_all_one():
    """The emulation works: naive arithmetic differs among them, where it can at all."""
    naive = (
        "import math, numpy as np; r = np.random.default_rng(0); "
        "a = r.normal(size=(50, 50)); x = r.uniform(1, 9, 5000);"
        "print((a @ a).tobytes().hex(), np.log10(x).tobytes().hex(),"
        " [math.log10(v).hex() for v in x])"
    )
    told = {run(["-c", naive], e) for e in PROCESSORS.values() if possible(e)}
    assert len(told) > 1 or not FEATURES.get("AVX2")
