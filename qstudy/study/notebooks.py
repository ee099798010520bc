"""Chapters found by the table of contents; regenerated, and executed as they stand.

A regenerated one can stand in the book's place of the same chapter: where its runs are
all there, another mode computes nothing and shows what reading shows.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import yaml

from qstudy.study.tree import StudyError, repository

# Papermill's tag for the cell that it puts in; the call by which a chapter opens.
_INJECTED, _OPENED = "injected-parameters", "qstudy.chapter("


def chapters() -> list[str]:
    """The notebooks of the book, by name, in the order of _toc.yml."""
    root = repository()
    names = [Path(page).name for page in pages(root)]
    return [n for n in names if (root / "chapters" / f"{n}.ipynb").exists()]


def pages(root: Path) -> list[str]:
    """The pages that _toc.yml in `root` names, in order, without their suffix."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(entry["file"] for entry in _entries(toc))]


def _entries(node: object) -> list[dict]:
    if isinstance(node, list):
        return [entry for item in node for entry in _entries(item)]
    if isinstance(node, dict):
        here = [node] if "file" in node else []
        nested = [e for value in node.values() for e in _entries(value)]
        return here + nested
    return []


def regenerate(
    name: str,
    output: Path,
    *,
    parameters: Mapping[str, object],
    stream: TextIO | None = None,
) -> None:
    """Execute chapter `name` by papermill with `parameters`, as a reader would.

    Its result is kept in `output`; what its cells print goes to `stream` as well
    (standard error if None). Raises StudyError with the failing cell's own error in one
    line.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from qstudy.study.kernels import OwnKernel

    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            _unformatted(repository() / "chapters" / f"{name}.ipynb"),
            _unformatted(output),
            parameters=dict(parameters),
            kernel_name="python3",
            kernel_manager_class=OwnKernel,
            progress_bar=False,
            stdout_file=stream or sys.stderr,
            stderr_file=stream or sys.stderr,
            cwd=repository(),
        )
    except PapermillExecutionError as error:
        raise StudyError(
            f"chapter {name} failed in cell {error.cell_index}: {error.ename}: "
            f"{error.evalue} (see {output})"
        ) from error


def _unformatted(path: Path) -> str:
    """Papermill fills in {braces} of a path with parameters; a folder may hold some."""
    return os.fspath(path).replace("{", "{{").replace("}", "}}")


def execute(source: Path, output: Path, *, tree: Path, seconds: int) -> None:
    """Execute notebook `source` in its own folder, reading `tree`; write `output`.

    `seconds` is the limit for a cell. No time or path of this execution is written.
    Raises StudyError with the failing cell's own error in one line.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    from qstudy.study.kernels import OwnKernel

    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        kernel_manager_class=OwnKernel,
        timeout=seconds,
        record_timing=False,
        resources={"metadata": {"path": os.fspath(source.parent)}},
    )
    try:
        # In a loop of its own, which ends with it: chapters are executed in threads.
        asyncio.run(
            client.async_execute(env={**os.environ, "QSTUDY_RESULTS": os.fspath(tree)})
        )
    except CellExecutionError as error:
        raise StudyError(
            f"chapter {source.stem} failed: {error.ename}: {error.evalue}"
        ) from error
    except CellTimeoutError as error:
        raise StudyError(
            f"chapter {source.stem} failed: a cell took more than {seconds} seconds"
        ) from error
    nbformat.write(notebook, output)


def as_page(regenerated: Path, output: Path) -> None:
    """Write what `regenerate` made as the chapter `output`, without its traces.

    These are papermill's cell of parameters and its notes of times and paths, and the
    progress of runs, which goes to standard error where the study is opened.
    """
    import nbformat

    notebook = nbformat.read(regenerated, as_version=4)
    cells = [c for c in notebook.cells if _INJECTED not in c.metadata.get("tags", ())]
    notebook.cells = cells
    for part in (notebook, *cells):
        for notes in ("papermill", "execution"):
            part.metadata.pop(notes, None)
    for cell in cells:
        if _OPENED in cell.source and cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    nbformat.write(notebook, output)
