"""The book: its sources set out in a private folder, executed, built strictly.

Jupyter Book reads parts of a path as a pattern, writes beside its sources, and starts
kernels of whatever environment it finds. So the pages that _toc.yml names are copied to
a folder of their own, the notebooks are executed by the study's own kernels (or were,
by papermill), and only the finished pages come to the place that was asked for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import yaml

from qstudy.study import notebooks
from qstudy.study.tree import StudyError, repository, short_folder

# Jupyter Book's own command, with pages read and written by two processes, which it
# has no option for. Not its script: that may be another environment's, or moved.
_COMMAND = """
import functools
from jupyter_book import sphinx
sphinx.build_sphinx = functools.partial(sphinx.build_sphinx, jobs=2)
from jupyter_book.cli.main import main
main()
"""
# What the pages of chapters/ may take in from beside it.
_BESIDE = ("results", "workflow", "CITATION.cff", "LICENSE", "LICENSE-TEXT")
_RELEVANT = re.compile(r"\b(WARNING|ERROR|CRITICAL|Error|Exception)\b")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def build(
    tree: Path,
    output: Path,
    *,
    log: TextIO,
    source: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    regenerated: Path | None = None,
) -> Path:
    """Build the book in `source` (None: the checkout) from `tree`; its front page.

    The pages come to `output`/_build/html; those of an earlier build are replaced at
    the end, and stay where this one fails. The chapters are executed, or taken from the
    folder `regenerated`, where they lie as papermill left them.
    """
    target = output / "_build" / "html"
    if output.exists() and not output.is_dir():
        raise StudyError(f"the book's folder {output} is no folder; name another")
    told = {"log": log, "say": say}
    with built(tree, source=source, regenerated=regenerated, **told) as made:
        return _put_in_place(made / "html", target) / "index.html"


@contextmanager
def built(
    tree: Path,
    *options: str,
    log: TextIO,
    source: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    regenerated: Path | None = None,
) -> Iterator[Path]:
    """The folder _build of a strict build with Jupyter Book's own `options`.

    It is gone afterwards. `log` takes what Sphinx prints, and `say` one line a chapter.
    Any warning (failing cell, broken reference, unknown number, figure without alt
    text) fails the build with StudyError, which names the first.
    """
    source = source or repository()
    with _private_folder() as stage:
        _set_out(source, stage)
        if regenerated is None:
            _execute(source, stage, tree, say)
        else:
            for path in _notebooks(source):
                notebooks.as_page(regenerated / path.name, _staged(path, source, stage))
        say("book: the pages")
        code, printed = _build(stage, tree, options)
        log.write(printed)
        log.flush()
        if code != 0:
            found = [line for line in printed.splitlines() if _RELEVANT.search(line)]
            first = found[0] if found else f"Jupyter Book ended with exit code {code}"
            raise StudyError(f"the book has errors; the first: {first}")
        # A page's source is the notebook as it was written, without what it printed.
        for kept in (stage / "_build").glob("*/_sources/**/*.ipynb"):
            _, _, *inner = kept.relative_to(stage / "_build").parts
            shutil.copyfile(source.joinpath(*inner), kept)
        yield stage / "_build"


@contextmanager
def _private_folder() -> Iterator[Path]:
    folder = Path(short_folder())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _set_out(source: Path, stage: Path) -> None:
    """Copy configuration and pages to `stage`; the notebooks come executed, later."""
    shutil.copyfile(source / "_toc.yml", stage / "_toc.yml")
    settings = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
    settings["execute"]["execute_notebooks"] = "off"
    if not settings.get("repository", {}).get("url"):
        # The theme's launch buttons fail where the repository has no address.
        settings.pop("launch_buttons", None)
    (stage / "_config.yml").write_text(
        yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8"
    )
    for name in _BESIDE:
        if (source / name).exists():
            (stage / name).symlink_to((source / name).resolve())
    wanted = set(notebooks.pages(source))
    for path in (source / "chapters").rglob("*"):
        inner = path.relative_to(source)
        page = path.suffix in (".md", ".ipynb")
        if not path.is_file() or path.suffix == ".ipynb":
            continue
        if page and os.fspath(inner.with_suffix("")) not in wanted:
            continue
        (stage / inner).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, stage / inner)


def _execute(source: Path, stage: Path, tree: Path, say: Callable[[str], None]) -> None:
    settings = yaml.safe_load((stage / "_config.yml").read_text(encoding="utf-8"))
    limit = settings["execute"]["timeout"]
    found = _notebooks(source)

    def execute(path: Path) -> Path:
        target = _staged(path, source, stage)
        notebooks.execute(path, target, tree=tree, seconds=limit)
        return path

    # Two at a time: a kernel takes most of its seconds to start, on one core.
    with ThreadPoolExecutor(2) as pool:
        for number, path in enumerate(pool.map(execute, found), start=1):
            say(f"book: chapter {number} of {len(found)}, {path.stem}")


def _notebooks(source: Path) -> list[Path]:
    """The chapters of the book in `source` that are notebooks, in order."""
    found = [source / f"{page}.ipynb" for page in notebooks.pages(source)]
    return [path for path in found if path.exists()]


def _staged(path: Path, source: Path, stage: Path) -> Path:
    """Where the page `path` of `source` stands in `stage`."""
    target = stage / path.relative_to(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _build(stage: Path, tree: Path, options: tuple[str, ...]) -> tuple[int, str]:
    """Run Jupyter Book: its exit code and what it printed, paths as in the checkout."""
    command = [
        *(sys.executable, "-P", "-c", _COMMAND),
        *("build", os.fspath(stage), "--all", "-W", "-n", "--keep-going", "-q"),
        *options,
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "QSTUDY_RESULTS": os.fspath(tree), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.returncode, _COLOUR.sub("", done.stdout).replace(f"{stage}/", "")


def _put_in_place(html: Path, target: Path) -> Path:
    """Move the finished pages to `target`, over those of an earlier build."""
    partial = target.with_name(f".html.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(html, partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StudyError(
            f"cannot write the book to {target}: {error}; name another folder with "
            "'qstudy book --output FOLDER'"
        ) from error
    return target
