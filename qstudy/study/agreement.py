"""What reruns on other systems agreed on: kept in agreement/, quoted by the book.

`qstudy verify results work --keep` writes one small record for each system that `work`
was computed on: by the system that published a value, by chapter and by kind, how many
values were compared, equal to the last digit, and agreeing by their kind's rule.
`collect` adds these counts up by how close the two processors are to each other.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from qstudy import experiments
from qstudy.spec import KINDS, Number
from qstudy.study.store import Store
from qstudy.study.tree import StudyError, write_atomically
from qstudy.study.verify import Comparison

FOLDER = "agreement"
# same_processor: one model of processor, maybe in another machine. same_isa: another
# model with the same integer instructions. other_isa: other instructions.
RELATIONS = ("same_processor", "same_isa", "other_isa")
COUNTS = ("compared", "equal", "agreeing")


def keep(
    comparisons: list[Comparison], *, published: Store, found: Store
) -> list[Path]:
    """Write agreement/<system>.json of `published`, a file a system of `found`.

    The description of the system is copied beside the published ones. An earlier record
    of the same system is replaced.
    """
    written = []
    for system in sorted({c.systems[1] for c in comparisons}):
        mine = [c for c in comparisons if c.systems[1] == system]
        described = found.root / "systems" / f"{system}.json"
        write_atomically(
            published.root / "systems" / described.name, described.read_bytes()
        )
        path = published.root / FOLDER / f"{system}.json"
        record = {"system": system, **_origin(mine, found), "published": _counts(mine)}
        write_atomically(path, json.dumps(record, indent=1, sort_keys=True) + "\n")
        written.append(path)
    return written


def _origin(comparisons: list[Comparison], found: Store) -> dict[str, Any]:
    """The commits and package versions that the rerun's records name."""
    keys = {(c.experiment, c.key) for c in comparisons}
    records = [found.by_key(*key) for key in sorted(keys)]
    versions: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.versions.items():
            versions.setdefault(package, set()).add(version)
    return {
        "runs": len(records),
        "commits": sorted({record.commit for record in records}),
        "versions": {name: sorted(found) for name, found in sorted(versions.items())},
    }


def _counts(comparisons: list[Comparison]) -> dict[str, Any]:
    """Published system -> chapter -> kind -> counts; nothing that no rule judges."""
    made: dict[str, Any] = {}
    for c in comparisons:
        if c.agrees is None:
            continue
        chapter = made.setdefault(c.systems[0], {}).setdefault(c.experiment, {})
        counts = chapter.setdefault(c.kind, dict.fromkeys(COUNTS, 0))
        counts["compared"] += 1
        counts["equal"] += c.published == c.found
        counts["agreeing"] += c.agrees
    return made


def numbers(tree: Path) -> dict[str, Number]:
    """agreement.<relation>.<kind>.<count> over all kept records of a results tree.

    Also .<count> over all kinds, .machines (the processors) and .isa_class. Only
    relations that a kept record shows are there. Raises StudyError for a damaged record
    or one whose system is not described.
    """
    sums: dict[str, Counter] = {}
    seen: dict[str, set[tuple[str, str]]] = {}
    for path in sorted((tree / FOLDER).glob("*.json")):
        for published, system, chapter, kind, counts in _rows(path):
            ours, theirs = _system(tree, published), _system(tree, system)
            relation = _relation(ours, theirs)
            names = {(_name(s), s["isa_class"]) for s in (ours, theirs)}
            seen.setdefault(relation, set()).update(names)
            if chapter in experiments.NAMES:
                for name in COUNTS:
                    added = sums.setdefault(relation, Counter())
                    added[f"{kind}.{name}"] += counts[name]
                    added[name] += counts[name]
    made = {}
    for relation, names in seen.items():
        key = f"agreement.{relation}"
        keys = [*COUNTS, *(f"{kind}.{name}" for kind in KINDS for name in COUNTS)]
        made |= {f"{key}.{k}": Number(sums[relation][k], "", 0) for k in keys}
        machines = sorted({name for name, _ in names})
        classes = sorted({isa for _, isa in names})
        made[f"{key}.machines"] = Number(" and ".join(machines))
        made[f"{key}.isa_class"] = Number(" and ".join(classes))
    return made


def _rows(path: Path) -> list[tuple[str, str, str, str, dict[str, int]]]:
    try:
        record = json.loads(path.read_bytes())
        return [
            (published, record["system"], chapter, kind, {n: int(c[n]) for n in COUNTS})
            for published, chapters in record["published"].items()
            for chapter, kinds in chapters.items()
            for kind, c in kinds.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(
            f"agreement record {path} is damaged ({error}); restore it with git or "
            "write it again with 'qstudy verify results work --keep'"
        ) from error


def _system(tree: Path, system: str) -> dict[str, Any]:
    path = tree / "systems" / f"{system}.json"
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StudyError(
            f"system description {path} is missing or damaged ({error}); restore it "
            "with git"
        ) from error


def _name(system: dict[str, Any]) -> str:
    return f"{system['cpu']} ({system['cpu_signature']})"


def _relation(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    if ours["isa_class"] != theirs["isa_class"]:
        return "other_isa"
    return "same_processor" if _name(ours) == _name(theirs) else "same_isa"
