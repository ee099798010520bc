"""Records on disk: runs/<experiment>/<key>.json, arrays and checkpoints beside them.

Arrays and checkpoint are written first and the record last, so a record that exists is
complete; it holds the SHA-256 of each. Reading checks them. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from qstudy.spec import RunRecord, RunSpec
from qstudy.study import records_json
from qstudy.study.records_json import ARRAYS, CHECKPOINT, WAY_OUT
from qstudy.study.tree import StudyError, write_atomically


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def checkpoint_of(record: RunRecord) -> tuple[str, str] | None:
    """(file name, SHA-256) of the checkpoint that a run made, or None."""
    for artifact, sha in record.artifacts.items():
        kind, _, name = artifact.partition(":")
        if kind == CHECKPOINT:
            return name, sha
    return None


class Store:
    """The records of one results tree."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, spec: RunSpec) -> Path:
        return self.root / "runs" / spec.experiment / f"{spec.key}.json"

    def write(
        self,
        record: RunRecord,
        *,
        machine: Mapping[str, object],
        checkpoint: Path | None = None,
        checkpoint_name: str | None = None,
    ) -> RunRecord:
        """Keep `record`, its arrays, its checkpoint and the machine it ran on.

        Returns the record with the SHA-256 of its artifacts filled in.
        """
        path = self.path(record.spec)
        artifacts: dict[str, str] = {}
        if record.arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **record.arrays)
            write_atomically(path.with_suffix(".npz"), buffer.getvalue())
            artifacts[ARRAYS] = hashlib.sha256(buffer.getvalue()).hexdigest()
        if checkpoint is not None:
            data = checkpoint.read_bytes()
            write_atomically(self.root / "checkpoints" / checkpoint_name, data)
            artifacts[f"{CHECKPOINT}:{checkpoint_name}"] = hashlib.sha256(
                data
            ).hexdigest()
        system = self.root / "systems" / f"{record.system}.json"
        if not system.exists():
            write_atomically(system, _pretty(machine))
        record = replace(record, artifacts=artifacts)
        write_atomically(path, _pretty(records_json.to_json(record)))
        return record

    def read(self, spec: RunSpec) -> RunRecord | None:
        """The record of `spec`, or None. Raises StudyError where it is damaged."""
        return self.by_key(spec.experiment, spec.key)

    def by_key(self, experiment: str, key: str) -> RunRecord | None:
        """The record of a run known by its key alone, or None."""
        path = self.root / "runs" / experiment / f"{key}.json"
        return self._load(path) if path.exists() else None

    def records(self, experiment: str, version: int) -> list[RunRecord]:
        """All records of an experiment's current version, ordered by key.

        Raises StudyError where one is damaged, or where a value has another unit, kind
        or type than in most records of its task.
        """
        folder = self.root / "runs" / experiment
        records = [self._load(path) for path in sorted(folder.glob("*.json"))]
        records = [r for r in records if r.spec.version == version]
        odd = records_json.odd_one(records)
        if odd is not None:
            record, told = odd
            raise StudyError(
                f"record {self.path(record.spec)} is damaged ({told}); {WAY_OUT}"
            )
        return records

    def take_over(self, record: RunRecord, source: Store) -> None:
        """Copy a record of `source` and its artifacts here, the record last."""
        path = source.path(record.spec)
        files = [source.root / "systems" / f"{record.system}.json", path]
        if record.arrays:
            files.insert(0, path.with_suffix(".npz"))
        if checkpoint_of(record):
            files.insert(0, source.checkpoint(record))
        for file in files:
            write_atomically(
                self.root / file.relative_to(source.root), file.read_bytes()
            )

    def checkpoint(self, record: RunRecord) -> Path:
        """The checkpoint that a run made, its SHA-256 checked against the record."""
        made = checkpoint_of(record)
        if made is None:
            raise StudyError(f"run {record.spec.key} made no checkpoint")
        name, expected = made
        path = self.root / "checkpoints" / name
        way_out = f"restore it with git or run 'qstudy run --only {record.spec.key}'"
        if not path.exists():
            raise StudyError(f"checkpoint {path} is missing; {way_out}")
        found = sha256_file(path)
        if found != expected:
            raise StudyError(
                f"checkpoint {path} has SHA-256 {found[:12]} and the record says "
                f"{expected[:12]}; {way_out}"
            )
        return path

    def _load(self, path: Path) -> RunRecord:
        way_out = WAY_OUT
        try:
            record = records_json.from_json(json.loads(path.read_bytes()), path)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StudyError(
                f"record {path} is damaged ({error}); {way_out}"
            ) from error
        if record.spec.key != path.stem:
            raise StudyError(
                f"record {path} holds the run {record.spec.key}, not the one it is "
                f"named after; {way_out}"
            )
        arrays = {}
        if ARRAYS in record.artifacts:
            stored = path.with_suffix(".npz")
            if not stored.exists() or sha256_file(stored) != record.artifacts[ARRAYS]:
                raise StudyError(
                    f"the arrays {stored} are missing or damaged; {way_out} "
                    f"(after deleting {path.name} too)"
                )
            try:
                with np.load(stored, allow_pickle=False) as loaded:
                    arrays = {name: loaded[name] for name in loaded.files}
            except (ValueError, zipfile.BadZipFile, EOFError) as error:
                raise StudyError(
                    f"the arrays {stored} are no arrays ({error}); {way_out}"
                ) from error
        return replace(record, arrays=arrays, machine=self._machine(record.system))

    def _machine(self, system: str) -> str:
        path = self.root / "systems" / f"{system}.json"
        try:
            label = json.loads(path.read_bytes())["label"]
            if not isinstance(label, str):
                raise ValueError(f"label {label!r} is no text")
            return label
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudyError(
                f"system description {path} is missing or damaged ({error}); restore "
                "it with git"
            ) from error


def _pretty(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"
