"""What a timing needs of its machine: cores, instructions, and nobody else at work.

Uses qstudy.measure alone. A ratio measured beside another load may still be right, for
candidates take turns; but it has to be told, so a run measures the load and keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psutil

# Share of all cores, in percent, that others may use before a machine counts as busy.
BUSY_PERCENT = 10.0
_FASTER_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni")


def check_threads(threads: int) -> None:
    """ValueError unless `threads` is from 1 to the number of this machine's cores."""
    cores = psutil.cpu_count() or 1
    if not 1 <= threads <= cores:
        raise ValueError(
            f"threads {threads} is not from 1 to {cores}, the cores of this machine"
        )


def other_load(
    *,
    seconds: float = 0.5,
    percent: Callable[[float], float] = psutil.cpu_percent,
) -> float:
    """Percent of all cores in use over `seconds` in which this process only waits.

    Call it while no worker of one's own runs.
    """
    return float(percent(seconds))


def busy_note(load: float) -> str:
    """A sentence where `load` percent is too much to time beside; else ""."""
    if load <= BUSY_PERCENT:
        return ""
    return (
        f"This machine is busy: {load:.0f} % of its cores were in use by others before "
        "the timing began, so times are too long and ratios less certain."
    )


def isa_notes(machine: Mapping[str, Any]) -> list[str]:
    """What differs on a processor without the int8 instructions; else nothing.

    `machine` is qstudy.measure.system.describe()'s.
    """
    flags, notes = machine["flags"], []
    if not machine["isa_class"].startswith("x86-64"):
        return [
            f"This processor is {machine['isa_class']}: the study's times are of "
            "x86-64, and other engines are the fast ones here."
        ]
    if not set(flags) & set(_FASTER_INT8):
        notes.append(
            "This processor has no VNNI: int8 takes three instructions where it could "
            "take one, so int8 gains less, and engines x86 and fbgemm may saturate at "
            "16 bits (activation_bits 7 avoids it)."
        )
    if "avx512f" not in flags:
        notes.append(
            "This processor has no AVX-512: every kernel works on half as many values "
            "at a time as those whose times are published."
        )
    if machine["overrides"]:
        told = ", ".join(f"{k}={v}" for k, v in sorted(machine["overrides"].items()))
        notes.append(f"The environment limits the instructions used: {told}.")
    return notes
