"""A record as JSON, and back: every field checked, so that tables may rely on them.

A value that is not what its unit says, a name that is missing, a unit that is another
than in the other records of the task: each is an error that names the file.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from qstudy.spec import RunRecord, RunSpec, Value
from qstudy.study.tree import StudyError

ARRAYS = "arrays"
CHECKPOINT = "checkpoint"
ORIGINS = ("regenerated", "from-checkpoint")
WAY_OUT = "delete it and run the same command again"


def to_json(record: RunRecord) -> dict:
    """The record as plain JSON values, without what is kept beside it."""
    return {
        "spec": record.spec.as_dict(),
        "values": {
            name: {k: v for k, v in asdict(value).items() if v is not None}
            for name, value in record.values.items()
        },
        "inputs": dict(record.inputs),
        "artifacts": dict(record.artifacts),
        "seconds": round(record.seconds, 2),
        "peak_mib": round(record.peak_mib),
        "versions": dict(record.versions),
        "commit": record.commit,
        "system": record.system,
        "origin": record.origin,
    }


def odd_one(records: list[RunRecord]) -> tuple[RunRecord, str] | None:
    """A record with a value of another unit, kind or type than most of its task have.

    With the words that say so; None where all agree.
    """
    named = [
        ((r.spec.params.get("task"), name), _sort(value), r)
        for r in records
        for name, value in r.values.items()
    ]
    sorts: dict[tuple, Counter] = {}
    for name, sort, _ in named:
        sorts.setdefault(name, Counter())[sort] += 1
    for name, sort, record in named:
        (usual, _), *_ = sorts[name].most_common(1)
        if sort != usual:
            return record, f"value {name[1]!r} is {sort}, elsewhere {usual}"
    return None


def _sort(value: Value) -> str:
    kind = "text" if isinstance(value.value, str) else "a number"
    return f"{kind} [{value.unit}] {value.kind}"


class NamedValues(dict[str, Value]):
    """The values of a record; asking for one that it lacks names its file."""

    def __init__(self, path: Path, values: Mapping[str, Value]) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, name: str) -> Value:
        raise StudyError(
            f"record {self._path} is damaged (it has no value {name!r}); {WAY_OUT}"
        )


def from_json(source: object, path: Path) -> RunRecord:
    """The record that stands in `path` as `source`. ValueError or TypeError, one line.

    A value that it lacks is a StudyError, raised when it is asked for.
    """
    fields = dict(_mapping("the record", source))
    spec = RunSpec.from_dict(_mapping("spec", fields.get("spec")))
    _check_spec(spec)
    values = {
        name: _value(name, value)
        for name, value in _mapping("values", fields.get("values")).items()
    }
    if not values:
        raise ValueError("it has no values")
    record = RunRecord(**{**fields, "spec": spec, "values": NamedValues(path, values)})
    for name in ("inputs", "artifacts", "versions"):
        _check_texts(name, getattr(record, name))
    for name, sha in record.artifacts.items():
        plain = name == ARRAYS or re.fullmatch(rf"{CHECKPOINT}:[\w.+-]+", name)
        if not plain or not re.fullmatch(r"[0-9a-f]{64}", sha):
            raise ValueError(f"artifact {name!r}: {sha!r} is no file name and SHA-256")
    for name in ("seconds", "peak_mib"):
        amount = getattr(record, name)
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not (number and 0 <= amount < math.inf):
            raise ValueError(f"{name} {amount!r} is no number from 0 on")
    if not isinstance(record.commit, str):
        raise ValueError(f"commit {record.commit!r} is no text")
    # It becomes a file name.
    if not re.fullmatch(r"\w+", str(record.system)):
        raise ValueError(f"system {record.system!r} is no id")
    if record.origin not in ORIGINS:
        raise ValueError(f"origin {record.origin!r} is not one of {ORIGINS}")
    return record


def _check_spec(spec: RunSpec) -> None:
    fields = {"experiment": str, "version": int, "params": dict, "seed": int}
    for name, kind in fields.items():
        if type(getattr(spec, name)) is not kind:
            raise ValueError(
                f"spec: {name} {getattr(spec, name)!r} is no {kind.__name__}"
            )


def _value(name: str, fields: object) -> Value:
    try:
        return Value(**_mapping("it", fields))
    except (ValueError, TypeError) as error:
        told = str(error).removeprefix("Value.__init__() ")
        raise ValueError(f"value {name!r}: {told}") from error


def _mapping(name: str, source: object) -> Mapping:
    if not isinstance(source, dict):
        raise ValueError(f"{name} is {source!r:.60}, not names with their values")
    return source


def _check_texts(name: str, source: object) -> None:
    for key, value in _mapping(name, source).items():
        if not isinstance(value, str):
            raise ValueError(f"{name}: {key!r} is {value!r}, not text")
