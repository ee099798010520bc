"""A user whose home and folders are as unlike a developer's as they may be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from qstudy.study.tree import repository

NOBODY = 65534
# Patterns, braces, blanks, quotes, another script; 200 bytes of a path that goes on.
ODD_NAME = "ours [1] {x} 'q' 한국어 $HOME " + "long " * 30

STARTUP = """
import json
import numpy as np
seed = "of the user's own"
study = results = mode = None
def helper(): ...
print("a startup file speaks")
"""
MATPLOTLIBRC = "text.usetex: True\nsavefig.transparent: True\nxtick.direction: in\n"
KERNEL = '{"argv": ["/bin/false"], "display_name": "Foreign", "language": "python"}'


_FILES = (
    *("_toc.yml", "_config.yml", "README.md", "CONTRIBUTING.md"),
    *("CITATION.cff", "LICENSE", "LICENSE-TEXT"),
)


def checkout(folder: Path) -> Path:
    """A copy of this checkout's code, chapters and results at `folder`, no history."""
    here = repository()
    folder.mkdir(parents=True)
    hidden = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("qstudy", "chapters", "results", "workflow"):
        shutil.copytree(here / name, folder / name, ignore=hidden)
    for name in _FILES:
        shutil.copy(here / name, folder / name)
    return folder


def home(folder: Path) -> dict[str, str]:
    """A home at `folder`, and the environment of who lives there."""
    files = {
        ".ipython/profile_default/startup/00-mine.py": STARTUP,
        ".ipython/profile_default/startup/01-broken.py": "1 / 0\n",
        ".config/matplotlib/matplotlibrc": MATPLOTLIBRC,
        "share/kernels/python3/kernel.json": KERNEL,
        "rc.py": "surprise = 1\n",
        "tmp [1] {x}/keep": "",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OWN)}
    return {
        **kept,
        "HOME": os.fspath(folder),
        "TMPDIR": os.fspath(folder / "tmp [1] {x}"),
        "JUPYTER_PATH": os.fspath(folder / "share"),
        "JUPYTER_RUNTIME_DIR": os.fspath(folder / ("deep/" * 30)),
        "PYTHONSTARTUP": os.fspath(folder / "rc.py"),
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C",
    }


_OWN = ("JUPYTER", "IPYTHON", "MPL", "XDG", "QSTUDY", "PYTHON", "LC_", "LANG")


def close(folder: Path) -> None:
    """Take the right to write from `folder` and all in it."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)


def open_again(folder: Path) -> None:
    """Give it back, so that the folder can be removed."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


# Starts a child, as kernels are started, and fails where a closed folder is open.
_PROBE = """
import os, subprocess, sys
subprocess.run([sys.executable, "-c", "import torch"], check=True)
sys.exit(os.access(sys.argv[1], os.W_OK))
"""


def unprivileged(folder: Path) -> tuple[list[str], int]:
    """What comes before a command so that read-only folders are so; no loopback too.

    With the user id that it runs under: nobody's, or root's without root's powers where
    nobody may not read this interpreter. No words where this machine allows neither,
    and where the user is no root anyway. `folder` is empty, and is closed.
    """
    if os.getuid() != 0:
        return [], os.getuid()
    nobody = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    powerless = ["--inh-caps=-all", "--bounding-set=-all"]
    folder.chmod(0o555)
    for user, words in ((NOBODY, nobody), (0, powerless)):
        for network in (["unshare", "-n"], []):
            prefix = [*network, "setpriv", *words]
            if works([*prefix, sys.executable, "-c", _PROBE, os.fspath(folder)]):
                return prefix, user
    return [], 0


def works(command: list[str]) -> bool:
    """Whether `command` is there and ends well."""
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def python(*arguments: str, cwd: Path, env: dict[str, str], prefix: list[str] = ()):
    """Run Python with umask 077; text in and out."""
    return subprocess.run(
        [*prefix, sys.executable, "-P", *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        umask=0o077,
        timeout=300,
    )
