"""Published test vectors of quantization, put to any implementation.

`results/conformance/vectors.json` holds the vectors: an operation, its parameters and
input, what a public source expects, and to what tolerance. An implementation is one
function

    def implementation(op: str, parameters: dict, input: dict) -> dict

that returns the fields of `expected` as numbers, lists, arrays or tensors, and raises
`NotOffered` for an operation or parameters that it has no answer to. To try your own:
`qstudy conformance --implementation my_module:my_function`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

VECTORS = Path(__file__).parents[3] / "results" / "conformance" / "vectors.json"
RESULTS = ("passes", "differs", "not offered")

Implementation = Callable[[str, dict, dict], Mapping[str, Any]]


class NotOffered(Exception):
    """The implementation has no such operation, or not with these parameters."""


@dataclass(frozen=True)
class Vector:
    """One published case. `derived`: computed by us from what `source` says."""

    id: str
    op: str
    parameters: dict
    input: dict
    expected: dict
    tolerance: float
    convention: str
    source: str
    derived: bool
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """How one implementation did on one vector; `found` says where it differs."""

    vector: Vector
    result: str
    found: str = ""


def load(path: Path = VECTORS) -> list[Vector]:
    """The vectors of a file; ValueError where it is damaged, empty or repeats ids."""
    try:
        vectors = [Vector(**v) for v in json.loads(path.read_bytes())["vectors"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path.name} is no file of vectors ({error}): restore it with git"
        ) from error
    repeated = len(vectors) - len({v.id for v in vectors})
    if repeated or not vectors:
        raise ValueError(f"{path.name} has {len(vectors)} vectors, {repeated} repeated")
    return vectors


def check(vector: Vector, implementation: Implementation) -> Outcome:
    """Put `vector` to `implementation` and compare every expected field.

    An exception other than NotOffered counts as a difference and is told.
    """
    try:
        found = implementation(vector.op, dict(vector.parameters), dict(vector.input))
        return _compared(vector, found)
    except NotOffered as reason:
        return Outcome(vector, "not offered", str(reason))
    # Whatever a foreign implementation raises, sys.exit included, or gives that is no
    # number, is its answer to the vector.
    except (Exception, SystemExit) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(vector, "differs", told[:200])


def _compared(vector: Vector, found: Mapping[str, Any]) -> Outcome:
    if not isinstance(found, Mapping):
        return Outcome(vector, "differs", f"gives {found!r:.40}, no fields by name")
    for field, expected in vector.expected.items():
        if field not in found:
            return Outcome(vector, "differs", f"gives no {field}")
        ours = np.asarray(found[field], dtype=np.float64)
        theirs = np.asarray(expected, dtype=np.float64)
        if ours.shape != theirs.shape and ours.size == theirs.size:
            ours = ours.reshape(theirs.shape)
        if ours.shape != theirs.shape:
            return Outcome(
                vector, "differs", f"{field} of shape {ours.shape}, not {theirs.shape}"
            )
        off = np.abs(ours - theirs)
        if not bool((off <= vector.tolerance).all()):
            # NaN is farther off than any number.
            worst = np.unravel_index(int(np.nan_to_num(off, nan=np.inf).argmax()),
                                     off.shape)  # fmt: skip
            return Outcome(
                vector,
                "differs",
                f"{field}: {ours[worst]:.9g}, expected {theirs[worst]:.9g}",
            )
    return Outcome(vector, "passes")


def named(reference: str) -> Implementation:
    """The function that "module:function" names; ValueError where there is none."""
    module, _, name = reference.partition(":")
    try:
        found = getattr(import_module(module), name) if module and name else None
    # A module of somebody else's may fail to import in any way at all, or exit.
    except (Exception, SystemExit) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"implementation {reference!r} cannot be imported: {told}"
        ) from error
    if not callable(found):
        raise ValueError(
            f"implementation {reference!r} is not module:function, such as "
            "qstudy.methods.conformance.implementations:qstudy"
        )
    return found
