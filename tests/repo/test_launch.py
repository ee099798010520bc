"""What Binder and Colab run, in a copy with an environment that is there already."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.repo.checkout import ROOT


@pytest.fixture
def copy(tmp_path):
    """The launch files, chapters and results, and a `make` that links this Python."""
    for name in ("binder", "chapters", "qstudy"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("results", "_toc.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / "programs"
    programs.mkdir()
    # An environment that is another name for the one of these tests.
    (programs / "make").write_text(
        '#!/bin/sh\necho "make $*"\nmkdir -p .venv\n'
        f'ln -s "{sys.prefix}/lib" "{sys.prefix}/bin" .venv/\n'
        f'if [ -e "{sys.prefix}/pyvenv.cfg" ]; then '
        f'cp "{sys.prefix}/pyvenv.cfg" .venv/; fi\n'
    )
    (programs / "make").chmod(0o755)
    return tmp_path


def run(copy, *command, **more):
    return subprocess.run(
        command,
        cwd=copy,
        env={
            **os.environ,
            "PATH": f"{copy / 'programs'}:{os.environ['PATH']}",
            "PYTHONPATH": os.fspath(copy),
            **more,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_binder_gets_a_kernel_of_the_studys_own_environment(copy):
    prefix = copy / "server"
    done = run(copy, "bash", "binder/postBuild", NB_PYTHON_PREFIX=os.fspath(prefix))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("make install TORCH_INDEX=https://")
    spec = json.loads(
        (prefix / "share/jupyter/kernels/python3/kernel.json").read_text()
    )
    assert ".venv/bin/python" in spec["argv"][0]


def test_colab_executes_a_chapter(copy):
    done = run(copy, "bash", "binder/colab.sh", "introduction")
    assert done.returncode == 0, done.stderr[-2000:]
    executed = json.loads((copy / "introduction-executed.ipynb").read_text())
    outputs = [o for c in executed["cells"] for o in c.get("outputs", [])]
    assert any("text/markdown" in o.get("data", {}) for o in outputs)


@pytest.mark.parametrize("arguments", [[], ["nope"]])
def test_colab_without_a_chapter_says_which_there_are(copy, arguments):
    done = run(copy, "bash", "binder/colab.sh", *arguments)
    assert done.returncode != 0
    assert "static" in done.stderr and "make" not in done.stdout
