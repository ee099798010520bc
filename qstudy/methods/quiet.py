"""Keep libraries from speaking of themselves, in logs and past Python's stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def loggers(*names: str) -> Iterator[None]:
    """Loggers that speak of errors only, and as before afterwards."""
    found = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in found]
    for logger in found:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(found, before, strict=True):
            logger.setLevel(level)


@contextmanager
def descriptor(number: int = 2) -> Iterator[None]:
    """What C++ code writes to a file descriptor, standard error, goes nowhere.

    For blocks in which nothing but the library runs: of its own errors it then keeps
    only what it raises. A descriptor that is closed stays closed.
    """
    try:
        kept = os.dup(number)
    except OSError:
        yield
        return
    with suppress(AttributeError, OSError, ValueError):  # none, closed, a pipe's end
        sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nowhere)
