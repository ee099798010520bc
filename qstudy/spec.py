"""The words that experiments and the study share: what a run is, and what it yields.

A RunSpec names one unit of computation; a Value is one measured figure with the rule by
which a rerun is judged; a RunRecord is what is kept. Imports nothing of qstudy.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

MODES = ("read", "smoke", "quick", "full")
KINDS = ("exact", "isa", "stochastic", "timing")
# Where a column's interval is not named after the whole column: drop_pp has drop_lo.
_INTERVAL_STEM = {
    "drop_pp": "drop",
    "gain_pp": "gain",
    "seven_pp": "seven",
    "perplexity_rise_pct": "rise",
}


def interval_columns(column: str) -> tuple[str, str]:
    """The names of the columns that hold the lower and upper end of `column`."""
    stem = _INTERVAL_STEM.get(column, column)
    return f"{stem}_lo", f"{stem}_hi"


# What a unit says of its values: whole or not, and from where to where. Others are any
# finite number; those of TEXT_UNITS may also be text, where the kind is exact.
WHOLE_UNITS = ("count", "code")
LIMITS: Mapping[str, tuple[float, float]] = {
    "count": (0, math.inf),
    "%": (0, 100),
    "ms": (0, math.inf),
    "s": (0, math.inf),
    "MiB": (0, math.inf),
    "ratio": (0, math.inf),
    "nat": (-1e-6, math.inf),
}
TEXT_UNITS = ("", "result", "text")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run: `params` holds whatever changes the arithmetic, as plain JSON values.

    A parent (the run whose checkpoint this one starts from) stands in `params` as its
    own `as_dict()`. Code is not in the key: `version` is raised when an experiment's
    meaning changes.
    """

    experiment: str
    version: int
    params: Mapping[str, Any]
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "experiment": self.experiment,
            "version": self.version,
            "params": dict(self.params),
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> RunSpec:
        return cls(**source)

    @property
    def key(self) -> str:
        """SHA-256, 64 hexadecimal digits, of exactly the four fields."""
        return hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunSpec) and self.key == other.key


@dataclass(frozen=True)
class Value:
    """One measured figure.

    `kind` says how a rerun is judged. exact: equal. isa: equal on the same ISA class,
    within `tolerance` (in `unit`) across classes. stochastic: inside the prediction
    interval of the published seeds. timing: only ratios are compared, by their interval
    (`low`, `high`, 95 %). Raises ValueError for a figure that is not finite, that is of
    another type than its unit's, or outside its unit's range.
    """

    value: float | int | str
    unit: str
    kind: str
    low: float | None = None
    high: float | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is not one of {KINDS}")
        if not isinstance(self.unit, str):
            raise ValueError(f"unit {self.unit!r} is no text")
        if isinstance(self.value, str):
            if self.unit not in TEXT_UNITS or self.kind != "exact":
                raise ValueError(
                    f"value {self.value!r} is text, and {self.unit!r} ({self.kind}) "
                    "needs a number"
                )
            return
        _check_number("value", self.value)
        if self.unit in WHOLE_UNITS and not isinstance(self.value, int):
            raise ValueError(f"value {self.value!r} [{self.unit}] is no whole number")
        low, high = LIMITS.get(self.unit, (-math.inf, math.inf))
        if not low <= self.value <= high:
            raise ValueError(
                f"value {self.value!r} [{self.unit}] is outside {low} to {high}"
            )
        for name in ("low", "high", "tolerance"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name))
        if (self.low is None) != (self.high is None):
            raise ValueError(f"interval [{self.low}, {self.high}] has one end")
        if self.low is not None and self.low > self.high:
            raise ValueError(f"interval [{self.low}, {self.high}] is upside down")
        if self.tolerance is not None and self.tolerance < 0:
            raise ValueError(f"tolerance {self.tolerance!r} is negative")


def _check_number(name: str, value: object) -> None:
    """Refuse what is no finite number; bool is an int to Python and to nobody else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} {value!r} is no number")
    if not math.isfinite(value):
        raise ValueError(f"{name} {value!r} is not finite")


@dataclass(frozen=True)
class Values:
    """What an experiment's `run` returns.

    `arrays` are per-example results for paired tests (small integers, compressed
    beside the record). `checkpoint` is a safetensors file that the run has written
    into `ctx.resume`; the store takes it over under `checkpoint_name`.
    `earlier_seconds` is the wall time that a resumed run had taken before this call.
    """

    values: Mapping[str, Value]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    checkpoint: Path | None = None
    checkpoint_name: str | None = None
    earlier_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A finished run, as kept in runs/<experiment>/<key>.json.

    `inputs` maps the name of each input (data array, parent checkpoint) to its SHA-256;
    `artifacts` does so for the files that the run made. `origin` is "regenerated", or
    "from-checkpoint" where a parent checkpoint came from the published results.
    `machine` is the label of `system`, filled in on reading.
    """

    spec: RunSpec
    values: Mapping[str, Value]
    inputs: Mapping[str, str]
    artifacts: Mapping[str, str]
    seconds: float
    peak_mib: float
    versions: Mapping[str, str]
    commit: str
    system: str
    origin: str
    machine: str = ""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float | int | str:
        return self.values[name].value


@dataclass(frozen=True)
class Number:
    """One figure that prose may quote, as kept in numbers.json.

    `value` is a number, or the text of a verdict. `digits` after the point, `unit` as
    printed, the 95 % interval and the sample size where they apply, `runs` the keys of
    the records behind it.
    """

    value: float | int | str
    unit: str = ""
    digits: int = 2
    low: float | None = None
    high: float | None = None
    n: int | None = None
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What an experiment declares of the networks that its runs keep.

    `limits` stands in each model card. `load(record, path)` builds the network of a
    record from its checkpoint, in eval mode.
    """

    limits: str
    load: Callable[[RunRecord, Path], Any]


class Context(Protocol):
    """What the runner hands to `run`: the only way to inputs, so that all are noted."""

    resume: Path

    def images(self, dataset: str, split: str) -> tuple[np.ndarray, np.ndarray]:
        """uint8 images (N, 32, 32, 3) and uint8 labels (N,) of a split.

        Splits: train (50,000), train45k and validation (its two parts), test.
        """

    def texts(self, dataset: str, split: str) -> tuple[Any, ...]:
        """The texts (qstudy.data.brown.Text) of a split: train, validation, test."""

    def checkpoint(self, parent: RunSpec) -> Path:
        """The safetensors file of `parent`, its SHA-256 checked."""

    def pretrained(self, name: str) -> Path:
        """The safetensors file of third-party weights, checked; qstudy.data.weights."""

    def progress(
        self, total: int, description: str
    ) -> AbstractContextManager[Callable[[str], None]]:
        """A progress bar of `total` steps; call what it gives once a step."""


class Experiment(Protocol):
    """What a package in qstudy.experiments offers to the study.

    `PARAMETERS` are the chapter's own parameters with their defaults; one that is ""
    names a folder of the reader's, which no run depends on. `TRAINED` is None for an
    experiment that keeps no networks.
    """

    NAME: str
    VERSION: int
    PARAMETERS: dict[str, Any]
    TRAINED: Trained | None

    def grid(self, mode: str) -> list[RunSpec]: ...

    def run(self, spec: RunSpec, ctx: Context) -> Values: ...

    def tables(self, records: list[RunRecord]) -> dict[str, Any]: ...

    def figures(self, tables: dict[str, Any]) -> Iterator[Any]: ...

    def numbers(self, tables: dict[str, Any]) -> dict[str, Number]: ...
