"""Records to tables, figures and numbers: the same records give the same bytes.

A work tree is completed from the published one: rows whose run is not in work/ are
taken over and carry origin "published".
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pandas as pd

from qstudy import experiments
from qstudy.claims import entries, guide
from qstudy.report import figures, numbers, style, tables
from qstudy.report.absent import NOT_MEASURED
from qstudy.report.quotes import quoted_keys
from qstudy.spec import Number, RunRecord
from qstudy.study import agreement, cards
from qstudy.study.store import Store
from qstudy.study.tree import repository, write_atomically

# In a tree: the fingerprint of what was read and written when it was last collected.
STAMP = ".collected"
_READ = ("runs", "systems", agreement.FOLDER)
_WRITTEN = ("tables", "figures", "cards", "numbers.json", numbers.UNQUOTED)
_LIBRARIES = ("numpy", "pandas", "matplotlib", "mpmath")


def gather(name: str, *, tree: Store, published: Store | None) -> list[RunRecord]:
    """The records of experiment `name` in `tree`, completed from `published`."""
    experiment = experiments.by_name(name)
    records = {r.spec.key: r for r in tree.records(name, experiment.VERSION)}
    if published is not None:
        for record in published.records(name, experiment.VERSION):
            records.setdefault(record.spec.key, replace(record, origin="published"))
    return [records[key] for key in sorted(records)]


def collect(
    tree: Path, *, published: Path | None = None, origin: str | None = None
) -> dict[str, tuple[int, int]]:
    """Rewrite tables/, figures/, cards/ and numbers.json of `tree` from its records.

    Among the tables is the ledger of claims.

    Only numbers that README or a page of the book quotes are written; the keys of the
    others stand in numbers-unquoted.txt. Where a chapter has no records, the words "not
    measured in this tree" stand for each of its numbers that is quoted.

    Rows that `tree` lacks are taken over from `published`. `origin`, where given,
    stands in every row: "published" for the published tree itself. Returns, for each
    experiment, how many records it had and how many of them were taken over.
    """
    store = Store(tree)
    known: dict[str, Number] = {}
    counts = {}
    everything: list[RunRecord] = []
    all_tables: dict[str, pd.DataFrame] = {}
    for experiment in experiments.ALL:
        records = gather(
            experiment.NAME,
            tree=store,
            published=Store(published) if published else None,
        )
        taken = sum(r.origin == "published" for r in records)
        if origin is not None:
            records = [replace(r, origin=origin) for r in records]
        counts[experiment.NAME] = len(records), taken
        everything += records
        if not records:
            continue
        made = experiment.tables(records)
        for name, frame in made.items():
            tables.write_csv(frame, tree / "tables" / name)
        with style.context():
            for figure in experiment.figures(made):
                figures.publish(figure, tree / "figures")
        all_tables |= made
        known |= experiment.numbers(made)
    ledger, judged = entries.collect(all_tables, everything)
    tables.write_csv(ledger, tree / "tables" / entries.FILE)
    known |= judged | guide.numbers(all_tables, everything)
    # A work tree quotes what was kept with the results that complete it.
    agreed = agreement.numbers(published or tree)
    cards.write_cards(store, everything)
    wanted = quoted_keys(repository())
    without = [name for name, (count, _) in counts.items() if not count]
    known |= agreed or absent(wanted, ["agreement"])
    known |= absent(wanted, without)
    quoted = {key: number for key, number in known.items() if key in wanted}
    write_atomically(tree / "numbers.json", numbers.as_json(quoted))
    others = "".join(f"{key}\n" for key in sorted(set(known) - wanted))
    write_atomically(tree / numbers.UNQUOTED, others)
    return counts


def refresh(tree: Path, *, published: Path | None = None) -> bool:
    """`collect`, where it would change anything; whether it did.

    It would not where every byte that it reads (records of both trees, the package,
    README and the pages) and every byte that it wrote is as it was the last time.
    """
    stamp = tree / STAMP
    read = _digest(_inputs(tree, published))
    if stamp.exists() and stamp.read_text() == f"{read} {_digest(_outputs(tree))}":
        return False
    collect(tree, published=published)
    write_atomically(stamp, f"{read} {_digest(_outputs(tree))}")
    return True


def _inputs(tree: Path, published: Path | None) -> Iterator[Path | str]:
    yield from (sys.version, *(metadata.version(name) for name in _LIBRARIES))
    yield from (experiment.NAME for experiment in experiments.ALL)
    root = repository()
    yield root / "README.md"
    yield from _files(root / "chapters")
    yield from _files(Path(experiments.__file__).parents[1])
    for place in (tree, published):
        for name in _READ if place else ():
            yield from _files(place / name)


def _outputs(tree: Path) -> Iterator[Path]:
    for name in _WRITTEN:
        yield from _files(tree / name)


def _files(path: Path) -> list[Path]:
    """`path`, or the files below it; but for what Python compiles, and drafts."""
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.is_file())
    return [p for p in found if "__pycache__" not in p.parts and p.name[0] != "."]


def _digest(parts: Iterator[Path | str]) -> str:
    """SHA-256 of files, by path and content, and of words, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        content = b""
        if isinstance(part, Path):
            content = part.read_bytes() if part.exists() else b"absent"
        digest.update(f"{part}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def absent(keys: Iterable[str], chapters: Container[str]) -> dict[str, Number]:
    """NOT_MEASURED for each of `keys` that is of one of the `chapters`.

    A key of no chapter is left out: it is misspelt, and the book's build names it.
    """
    return {
        key: Number(NOT_MEASURED) for key in keys if key.partition(".")[0] in chapters
    }


def rewrite_readme(tree: Path) -> None:
    """Put the published numbers between README's markers."""
    readme = repository() / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = numbers.rewrite_markers(before, numbers.load(tree))
    if after != before:
        write_atomically(readme, after)
