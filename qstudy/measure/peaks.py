"""What this processor can do at most: operations a second, bytes a second.

A small C program is compiled for the very processor (qstudy.measure.peaks_source) and
called on as many threads as asked for. A peak is the best of many samples: whatever
disturbs one makes it slower, never faster.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qstudy.measure.peaks_source import SOURCE

PRECISIONS = ("fp32", "bf16", "int8")
# Where Linux describes caches, and what is taken where it does not.
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL = {"L1": 32 * 2**10, "L2": 2**20, "L3": 32 * 2**20}
LARGEST_MEMORY = 2**28
_SAMPLE_SECONDS = 0.01


@dataclass(frozen=True)
class Peaks:
    """Giga-operations a second by precision, gigabytes a second by level of memory.

    A multiply-add is two operations. A precision whose instruction the processor lacks
    is not in `operations`. Levels are "L1", "L2", "L3", "memory"; reading only.
    """

    threads: int
    operations: dict[str, float]
    bandwidth: dict[str, float]


def measure(*, threads: int = 1, seconds: float = 0.5) -> Peaks:
    """Peaks on `threads` threads, each sampled for `seconds`.

    Raises RuntimeError where there is no C compiler, ValueError for fewer than 1
    thread.
    """
    if threads < 1:
        raise ValueError(f"threads {threads} is not at least 1")
    with _library() as library:
        operations = {}
        for name in PRECISIONS:
            each = getattr(library, f"{name}_operations")()
            if each:
                work = _arithmetic(library, name)
                operations[name] = each * _best_rate(work, threads, seconds) / 1e9
        bandwidth = {}
        for level, size in level_sizes(threads=threads).items():
            work, counted = _reading(library, size, threads)
            bandwidth[level] = counted * _best_rate(work, threads, seconds) / 1e9
    return Peaks(threads, operations, bandwidth)


def level_sizes(*, threads: int = 1, caches: Path = _CACHES) -> dict[str, int]:
    """Bytes that each thread reads so that they come from each level.

    Half of the caches of its own; an equal part of half of the shared last one; for
    memory four times the last one in all, and LARGEST_MEMORY at most.
    """
    sizes = dict(_USUAL)
    for index in sorted(caches.glob("index*")):
        try:
            level, kind, text = (
                (index / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction" and f"L{level}" in sizes and text.endswith("K"):
            sizes[f"L{level}"] = int(text[:-1]) * 1024
    shared = sizes["L3"]
    memory = min(4 * shared, LARGEST_MEMORY)
    return {
        "L1": sizes["L1"] // 2,
        "L2": sizes["L2"] // 2,
        "L3": shared // 2 // threads,
        "memory": memory // threads,
    }


Work = Callable[[int, int], None]


def _arithmetic(library: ctypes.CDLL, name: str) -> Work:
    function = getattr(library, name)

    def work(thread: int, rounds: int) -> None:
        function(ctypes.c_long(rounds), ctypes.c_float(1.0 + 1e-3 * thread))

    return work


def _reading(library: ctypes.CDLL, size: int, threads: int) -> tuple[Work, int]:
    step = 256  # bytes of one turn of the inner loop
    count = size // step * step // 4
    # Vectors are read at addresses that are multiples of their width.
    arrays = [np.ones(count + 64, np.float32) for _ in range(threads)]
    starts = [a.ctypes.data + -a.ctypes.data % 64 for a in arrays]

    def work(thread: int, rounds: int, kept: object = arrays) -> None:
        del kept  # the arrays live as long as this function
        library.read_all(
            ctypes.c_long(rounds),
            ctypes.c_void_p(starts[thread]),
            ctypes.c_size_t(count),
        )

    return work, 4 * count


def _best_rate(work: Work, threads: int, seconds: float) -> float:
    """Rounds a second of all threads together, the best sample."""
    with ThreadPoolExecutor(threads) as pool:

        def sample(rounds: int) -> float:
            started = time.perf_counter()
            # A call through ctypes lets the other threads run.
            list(pool.map(work, range(threads), [rounds] * threads))
            return time.perf_counter() - started

        def quickest(rounds: int) -> float:
            # One sample may have waited for a processor.
            return min(sample(rounds) for _ in range(5))

        rounds, taken = 1, quickest(1)
        while taken < _SAMPLE_SECONDS:
            rounds *= 2
            taken = quickest(rounds)
        best, ended = taken, time.perf_counter() + seconds
        while time.perf_counter() < ended:
            best = min(best, sample(rounds))
    return threads * rounds / best


@contextmanager
def _library() -> Iterator[ctypes.CDLL]:
    compiler = os.environ.get("CC", "gcc")
    if shutil.which(compiler) is None:
        raise RuntimeError(
            f"there is no C compiler {compiler!r} to measure peaks with: install gcc, "
            "or name one in CC"
        )
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "peaks.c", Path(folder) / "peaks.so"
        source.write_text(SOURCE)
        done = subprocess.run(
            [
                *(compiler, "-O3", "-march=native", "-ffp-contract=fast"),
                *("-fno-tree-loop-distribution", "-shared", "-fPIC"),
                *(str(source), "-o", str(made)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            told = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
            raise RuntimeError(f"{compiler} cannot compile the peaks: {told}")
        library = ctypes.CDLL(str(made))
        for name in (*PRECISIONS, "read_all"):
            getattr(library, name).restype = ctypes.c_float
        for name in PRECISIONS:
            getattr(library, f"{name}_operations").restype = ctypes.c_long
        yield library
