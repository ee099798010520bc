"""Keep libraries from logging about themselves while they are imported or converted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


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
