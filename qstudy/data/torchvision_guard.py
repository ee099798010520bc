"""Import torchvision where its compiled library cannot load.

torchvision's wheel may be linked to CUDA; beside a CPU build of torch its library then
does not load and `import torchvision` ends with "operator torchvision::nms does not
exist". Only the schemas of two operators are missing, and neither has to do with
classification: defining them cures the import. Where the library loads, nothing is
done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

SCHEMAS = tuple(
    f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms")
)

# torch withdraws an operator with its Library object, so this one is kept
_defined = None


def import_torchvision() -> ModuleType:
    """The torchvision module, its classification models and transforms usable.

    Raises ModuleNotFoundError where torchvision is not installed.
    """
    with guarded():
        import torchvision

    return torchvision


@contextmanager
def guarded() -> Iterator[None]:
    """Whoever imports torchvision in this block, at any depth, gets a usable one.

    Nothing is asked or defined before somebody does.
    """
    watch = _Watch()
    sys.meta_path.insert(0, watch)
    try:
        yield
    finally:
        sys.meta_path.remove(watch)


class _Watch:
    """An import finder that finds nothing, but sees torchvision asked for."""

    asked = False

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        # Whether the library loads is asked by looking for torchvision once more.
        if name == "torchvision" and not self.asked:
            self.asked = True
            _define_what_lacks()


def _define_what_lacks() -> None:
    global _defined
    if _defined is None and not _library_loads():
        import torch

        _defined = torch.library.Library("torchvision", "DEF")
        for schema in SCHEMAS:
            _defined.define(schema)


def _library_loads() -> bool:
    """Whether torch can load torchvision's `_C`, asked before torchvision does."""
    import torch

    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed: the import itself says so best
    folder = Path(spec.origin).parent
    for suffix in (*EXTENSION_SUFFIXES, ".so", ".pyd"):
        path = folder / f"_C{suffix}"
        if path.exists():
            try:
                torch.ops.load_library(path)
            except (OSError, RuntimeError):
                return False
            return True
    return False
