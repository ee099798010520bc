"""What can be tried to make a route faster, besides taking another.

A change is named behind its route, "int8:pt2e+cpp_wrapper". Some are made where the
network is built, the others to the environment that a process is started with, because
OpenMP and the C library read theirs once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

# Threads: kept each on its core, or kept from sleeping between two parallel loops.
# Memory: kept for the next call instead of given back (as qstudy.training.memory).
ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {
    "bound": {"OMP_PROC_BIND": "true"},
    "spinning": {"OMP_WAIT_POLICY": "active"},
    "kept": {
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
    },
}
# Of inductor: calls between its kernels written in C++, not in Python.
COMPILING: Mapping[str, Mapping[str, object]] = {"cpp_wrapper": {"cpp_wrapper": True}}
CHANGES = (*ENVIRONMENTS, *COMPILING)


def parts(candidate: str) -> tuple[str, str]:
    """The route and the change of "route+change"; "" where nothing is changed.

    ValueError for a change that is not one of CHANGES.
    """
    route, _, change = candidate.partition("+")
    if change and change not in CHANGES:
        raise ValueError(f"change {change!r} of {route} is not one of {CHANGES}")
    return route, change


def environment(candidate: str) -> dict[str, str]:
    """The variables that the process of `candidate` is started with."""
    return dict(ENVIRONMENTS.get(parts(candidate)[1], {}))


def compiling(candidate: str) -> AbstractContextManager[object]:
    """Around building `candidate` and its first call: its settings of the compiler."""
    options = COMPILING.get(parts(candidate)[1])
    if not options:
        return nullcontext()
    import torch._inductor.config as inductor

    return inductor.patch(**options)
