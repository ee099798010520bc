"""Chapters through papermill, the book through Jupyter Book: strict, both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from qstudy.study.tree import StudyError, repository


def chapters() -> list[str]:
    """The notebooks of the book, by name, in the order of _toc.yml."""
    toc = yaml.safe_load((repository() / "_toc.yml").read_text(encoding="utf-8"))
    names = [Path(entry["file"]).name for entry in _entries(toc)]
    return [n for n in names if (repository() / "chapters" / f"{n}.ipynb").exists()]


def _entries(node: object) -> list[dict]:
    if isinstance(node, list):
        return [entry for item in node for entry in _entries(item)]
    if isinstance(node, dict):
        here = [node] if "file" in node else []
        nested = [e for value in node.values() for e in _entries(value)]
        return here + nested
    return []


def execute(name: str, output: Path, *, parameters: dict[str, object]) -> None:
    """Execute chapter `name` with `parameters`, keeping the result in `output`.

    Raises StudyError with the failing cell's own error in one line.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            repository() / "chapters" / f"{name}.ipynb",
            output,
            parameters=parameters,
            kernel_name="python3",
            progress_bar=False,
            stdout_file=sys.stderr,
            stderr_file=sys.stderr,
            cwd=repository(),
            # Of the kernel's own log only errors; its cells' output is not touched.
            extra_arguments=["--log-level=ERROR"],
        )
    except PapermillExecutionError as error:
        raise StudyError(
            f"chapter {name} failed in cell {error.cell_index}: {error.ename}: "
            f"{error.evalue} (see {output})"
        ) from error


def build_book(tree: Path, output: Path, *, quiet: bool = False) -> Path:
    """Build the book strictly from the results in `tree`; return its front page.

    Any warning (failing cell, broken reference, unknown number, figure without alt
    text) fails the build with StudyError.
    """
    command = [
        os.fspath(Path(sys.executable).with_name("jupyter-book")),
        *("build", os.fspath(repository()), "--path-output", os.fspath(output)),
        *("--all", "-W", "-n", "--keep-going"),
        *(["-q"] if quiet else []),
    ]
    done = subprocess.run(
        command, env={**os.environ, "QSTUDY_RESULTS": os.fspath(tree)}, check=False
    )
    front = output / "_build" / "html" / "index.html"
    if done.returncode != 0 or not front.exists():
        raise StudyError("the book has errors: each is named above as WARNING or ERROR")
    return front
