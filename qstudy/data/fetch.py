"""How data comes to this machine: named folders, the cache, downloads, whole files.

Sources are tried in order, and this is said on standard error. Nothing that arrives is
believed before its SHA-256 is checked; that is the part of the caller, who knows it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.parse import urlsplit

import platformdirs

T = TypeVar("T")

CONNECT_SECONDS = 5
READ_SECONDS = 30
ABANDONED_SECONDS = 24 * 3600
SCRATCH_PREFIX = "unfinished-"


class DataError(RuntimeError):
    """Data cannot be had. One line that names every way out."""


class Unreachable(DataError):
    """A source does not answer, or is not there; the next one may."""


class Damaged(DataError):
    """What a source gave is not what was asked for; a second try may do better."""


def say(line: str) -> None:
    """Progress goes to standard error, so that output can be piped."""
    print(line, file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """The platform's cache folder for this study; it need not exist."""
    return Path(platformdirs.user_cache_dir("qstudy"))


def named_folder(data_dir: str | os.PathLike | None = None) -> Path | None:
    """The folder that the user names: `data_dir`, else QSTUDY_DATA, else None.

    Raises DataError where the named folder is not one.
    """
    named = data_dir if data_dir is not None else os.environ.get("QSTUDY_DATA", "")
    if not os.fspath(named):
        return None
    folder = Path(named).expanduser().resolve()
    if not folder.is_dir():
        raise DataError(
            f"the data folder {folder} (--data-dir or QSTUDY_DATA) is not a folder"
        )
    return folder


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A temporary folder inside `folder`, gone at the end whatever happens.

    It lies on the disk where the result will lie, so that `put_in_place` is one rename.
    Raises DataError, one line, where `folder` cannot be written, a full disk included:
    callers turn errors of network and format into their own before they get here.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with TemporaryDirectory(dir=folder, prefix=SCRATCH_PREFIX) as name:
            yield Path(name)
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error.strerror or error}): free 500 MB there "
            "and make it writable, or name a folder that holds the data by --data-dir "
            "or QSTUDY_DATA"
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what killed processes left, but nothing that another may be writing."""
    for left in folder.glob(f"{SCRATCH_PREFIX}*"):
        with suppress(FileNotFoundError):  # Another process ended meanwhile.
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def put_in_place(finished: Path, path: Path) -> None:
    """Move a finished file to `path`: synced first, so a crash leaves old or new."""
    with open(finished, "rb+") as handle:
        os.fsync(handle.fileno())
    os.replace(finished, path)


def download(url: str, path: Path) -> None:
    """Fetch `url` into `path` with a progress bar.

    Raises Unreachable within seconds where the host does not answer, Damaged where the
    connection breaks off; OSError where `path` cannot be written.
    """
    # pooch and requests take 0.2 s to import, and most processes never download
    import pooch
    import requests

    fetch = pooch.HTTPDownloader(
        progressbar=True, chunk_size=1 << 18, timeout=(CONNECT_SECONDS, READ_SECONDS)
    )
    try:
        fetch(url, os.fspath(path), None)
    except requests.exceptions.ChunkedEncodingError as error:
        raise Damaged(f"{urlsplit(url).netloc} broke off the download") from error
    except requests.RequestException as error:
        response = error.response
        reason = type(error).__name__ if response is None else response.status_code
        raise Unreachable(f"{urlsplit(url).netloc}: {reason}") from error


def run_tool(command: Sequence[str], *, name: str, seconds: float) -> None:
    """Run the package manager `name`.

    Raises Unreachable with the tool's own first word on the matter where it is missing,
    fails or needs more than `seconds`; OSError where it reports a full disk.
    """
    program = shutil.which(command[0])
    if program is None:
        raise Unreachable(f"{name} is not installed")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"{name} did not answer in {seconds:g} s") from error
    if done.returncode == 0:
        return
    if "ENOSPC" in done.stderr or "No space left" in done.stderr:
        raise OSError(f"{name}: no space left on device")
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {done.returncode}"
    told = next((line for line in lines if "error" in line.lower()), last)
    raise Unreachable(told if told.startswith(name) else f"{name}: {told}")


def npm_pack(package: str, into: Path, *, seconds: float) -> None:
    """Put the archive of NAME@VERSION from npm into the folder `into`.

    A question of a few bytes comes first: offline it fails in seconds, where the
    download itself has `seconds`. Raises as `run_tool` does.
    """
    once = ("--fetch-retries=0", "--ignore-scripts")
    ask = ("npm", "view", package, "version", "--fetch-timeout=8000", *once)
    run_tool(ask, name="npm", seconds=20)
    pack = ("npm", "pack", package, "--pack-destination", os.fspath(into), *once)
    run_tool(pack, name="npm", seconds=seconds)


def first_of(what: str, sources: Sequence[tuple[str, Callable[[], T]]]) -> T:
    """What the first of `sources` (name, how to get it) that works gives.

    A source whose data are damaged is asked once more. Raises Unreachable with every
    source's reason where none works; any other DataError (a full disk) at once.
    """
    reasons = []
    for name, get in sources:
        for last in (False, True):
            say(f"{what}: fetching from {name}")
            try:
                return get()
            except Unreachable as error:
                say(f"{what}: {error}")
                reasons.append(str(error))
                break
            except Damaged as error:
                again = "given up" if last else "removed, once more"
                say(f"{what}: {error}; {again}")
                if last:
                    reasons.append(str(error))
    raise Unreachable("; ".join(reasons))
