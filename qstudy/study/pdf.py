"""The whole book as one PDF: Sphinx's single page, printed by Chromium.

Chromium comes from the system (Debian's package, no driver and no download). It is told
to wait for MathJax: its clock runs on until all scripts and timers have ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TextIO

import yaml

from qstudy.study.book import built
from qstudy.study.runner import say
from qstudy.study.tree import StudyError, repository

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MOST_MIB = 20
# On Chromium's own clock, which waits for nothing; real time is shorter.
MILLISECONDS = 120_000


def browser() -> str:
    """The path of an installed Chromium; StudyError says how to get one."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    raise StudyError(
        "no Chromium here, and it prints the PDF: apt-get install chromium, or put one "
        f"of {', '.join(BROWSERS)} on the PATH"
    )


def print_book(tree: Path, target: Path, *, log: TextIO) -> Path:
    """Build the book of results tree `tree` as one page and print it to `target`.

    `log` takes what Sphinx prints. The API pages are left out: they are for looking up.
    Raises StudyError where there is no Chromium, where the build has errors, and for a
    PDF over MOST_MIB.
    """
    found = browser()  # before the build, which takes a minute
    with tempfile.TemporaryDirectory(prefix="qstudy-pdf-") as folder:
        toc = Path(folder) / "_toc.yml"
        whole = yaml.safe_load((repository() / "_toc.yml").read_text(encoding="utf-8"))
        toc.write_text(yaml.safe_dump(without_api(whole), sort_keys=False))
        say("building the book as one page")
        single = ("--builder", "custom", "--custom-builder", "singlehtml")
        with built(tree, *single, "--toc", os.fspath(toc), log=log, say=say) as made:
            say("printing it")
            print_page(found, at_the_root(made / "singlehtml"), target)
    size = target.stat().st_size / 2**20
    if size > MOST_MIB:
        raise StudyError(f"{target} has {size:.1f} MiB, more than {MOST_MIB}")
    return target


def without_api(toc: dict) -> dict:
    """A table of contents without the pages of the package."""
    parts = [
        {**part, "chapters": [c for c in part["chapters"] if "api" not in c["file"]]}
        for part in toc["parts"]
    ]
    return {**toc, "parts": parts}


def at_the_root(folder: Path) -> Path:
    """The single page, moved to where its own links start from.

    Sphinx writes it where the front page's source lies, and its links as if it lay one
    folder higher.
    """
    page = (folder / "chapters" / "index.html").read_text(encoding="utf-8")
    target = folder / "index.html"
    target.write_text(
        page.replace('href="chapters/index.html#', 'href="#'), encoding="utf-8"
    )
    return target


def print_page(chromium: str, page: Path, target: Path) -> None:
    """Print the file `page` to the PDF `target`. StudyError where nothing came out."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with tempfile.TemporaryDirectory(prefix="qstudy-chromium-") as profile:
        done = subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu"),
                *("--no-first-run", "--disable-background-networking"),
                *("--disable-component-update", "--disable-sync", "--disable-quic"),
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={profile}",
                f"--virtual-time-budget={MILLISECONDS}",
                *("--no-pdf-header-footer", "--generate-pdf-document-outline"),
                f"--print-to-pdf={partial}",
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0 or not partial.exists():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StudyError(f"{chromium} printed no PDF: {last}")
    os.replace(partial, target)
