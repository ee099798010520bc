"""Freed memory is kept where the C library can be told so, and nowhere else."""

import platform
import subprocess
import sys

import pytest

from qstudy.training import memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's setting")
def test_kept_memory_is_not_mapped_again():
    code = """
import ctypes
import resource
import sys
from qstudy.training.memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size = 2**23
assert sys.argv[1] == "left" or keep_freed_memory()
for turn in range(12):
    if turn == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(size) for _ in range(20)]
    for block in blocks:
        libc.memset(block, 1, size)
    for block in blocks:
        libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", code, how],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for how in ("kept", "left")
    }
    # Eight turns of 160 MiB are 320,000 pages of the usual size, 640 of the largest.
    assert faults["kept"] < 100 < faults["left"]


def test_other_systems_keep_their_way(monkeypatch):
    def none(name):
        raise OSError(name)

    for library in (none, lambda name: object()):
        monkeypatch.setattr(memory.ctypes, "CDLL", library)
        assert not memory.keep_freed_memory()
