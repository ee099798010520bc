"""The LSQ chapter's figures: none before its networks are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def figures(tables: dict[str, Any]) -> Iterator[Any]:
    """None."""
    return iter(())
