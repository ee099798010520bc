"""A reproducible study of neural-network quantization with PyTorch on a CPU.

Chapters use `chapter`; everything else is reached through its room (qstudy.numerics,
qstudy.methods, qstudy.measure, ...). Importing this package imports neither torch nor
pandas, because every timing worker imports it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qstudy.study.chapter import Chapter

__all__ = ["chapter"]
__version__ = "0.1.0"


def chapter(name: str, namespace: Mapping[str, Any] | None = None) -> Chapter:
    """Open chapter `name` with its notebook's globals(); see qstudy.study.chapter."""
    from qstudy.study.chapter import chapter as open_chapter

    return open_chapter(name, namespace)
