"""Memory that stays with the process from one training step to the next."""

from __future__ import annotations

import ctypes

# glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, and what they are set to, in bytes:
# more than a training step frees, and the most that is sure to be accepted.
_KEEP = ((-1, 2**30), (-3, 2**25))


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for what it allocates next.

    Left alone, glibc gives large blocks back to the system, and every training step
    has the same pages mapped and zeroed again: up to a sixth of its time. Results are
    the same to the bit. Lasts as long as the process; False, and no change, where the C
    library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # Windows, macOS, musl
        return False
    return all(mallopt(option, size) for option, size in _KEEP)
