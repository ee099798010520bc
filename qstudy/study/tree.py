"""Where things lie: the checkout, the published results, and the work tree.

`results/` is published and read; `work/` is everything regenerated. The two have one
shape (runs/, systems/, checkpoints/, tables/, figures/, numbers.json), so whatever
reads one reads the other. Imports no torch.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

# A socket's path has room for 107 bytes on Linux; this leaves some for names in it.
_LONGEST_FOLDER = 80


class StudyError(RuntimeError):
    """A one-line error that names what is wrong and the way out."""


def repository() -> Path:
    """The checkout that holds chapters/ and results/.

    Raises StudyError where the package was installed without one.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "_toc.yml").exists():
        raise StudyError(
            f"no checkout of the study around {root}: clone the repository and install "
            "it with 'pip install -e .'"
        )
    return root


def results_root(explicit: str | os.PathLike = "") -> Path:
    """The results tree: `explicit`, else QSTUDY_RESULTS, else the repository's.

    Raises TypeError for what is no path and StudyError for what is no folder.
    """
    if not isinstance(explicit, str | os.PathLike):
        raise TypeError(
            f"results {explicit!r} is a {type(explicit).__name__}: a path is needed"
        )
    named = os.fspath(explicit) or os.environ.get("QSTUDY_RESULTS", "")
    if not named:
        return repository() / "results"
    root = Path(named).expanduser().resolve()
    if not root.is_dir():
        raise StudyError(f"the results tree {root} is not a folder")
    return root


def work_root() -> Path:
    """The work tree: QSTUDY_WORK, else work/ in the repository. It need not exist."""
    named = os.environ.get("QSTUDY_WORK", "")
    return Path(named).expanduser().resolve() if named else repository() / "work"


def book_folder() -> Path:
    """Where the book's _build/ lies: the checkout, or the work tree if it is closed."""
    root = repository()
    return root if os.access(root, os.W_OK) else work_root()


def short_folder() -> str:
    """A new private folder whose path is short and holds no pattern characters.

    For sockets, whose paths are limited, and for tools that read a path as a pattern.
    The caller removes it. Raises StudyError where no temporary folder will do.
    """
    places = (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")
    for place in places:
        plain = not set(place) & set("[]{}*?$")
        short = len(os.fsencode(place)) <= _LONGEST_FOLDER - len("/qstudy-12345678")
        if plain and short:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="qstudy-", dir=place)
    raise StudyError(
        f"no writable temporary folder with a short plain path among {places}: set "
        "TMPDIR to one"
    )


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to a temporary file beside `path`, sync it, rename it.

    A reader sees the old file or the new one, never half of one. Raises StudyError
    where the folder cannot be written or the disk is full; the partial file is removed.
    """
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, path)
    except OSError as error:
        # Where the folder itself is gone or read-only, nothing was left to remove.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StudyError(
            f"cannot write {path}: {error.strerror}; free space or make it writable, "
            "then run the same command again (finished runs are kept)"
        ) from error
