"""The baselines draw nothing: the chapters that use the networks do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def figures(tables: dict[str, Any]) -> Iterator[Any]:
    """None."""
    return iter(())
