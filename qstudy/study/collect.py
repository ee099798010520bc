"""Records to tables, figures and numbers: the same records give the same bytes.

A work tree is completed from the published one: rows whose run is not in work/ are
taken over and carry origin "published".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from qstudy import experiments
from qstudy.claims import entries, guide
from qstudy.report import figures, numbers, style, tables
from qstudy.report.quotes import quoted_keys
from qstudy.spec import Number, RunRecord
from qstudy.study import agreement, cards
from qstudy.study.store import Store
from qstudy.study.tree import repository, write_atomically


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
    others stand in numbers-unquoted.txt.

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
    known |= judged | guide.numbers(all_tables)
    # A work tree quotes what was kept with the results that complete it.
    known |= agreement.numbers(published or tree)
    cards.write_cards(store, everything)
    wanted = quoted_keys(repository())
    quoted = {key: number for key, number in known.items() if key in wanted}
    write_atomically(tree / "numbers.json", numbers.as_json(quoted))
    others = "".join(f"{key}\n" for key in sorted(set(known) - wanted))
    write_atomically(tree / numbers.UNQUOTED, others)
    return counts


def rewrite_readme(tree: Path) -> None:
    """Put the published numbers between README's markers."""
    readme = repository() / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = numbers.rewrite_markers(before, numbers.load(tree))
    if after != before:
        write_atomically(readme, after)
