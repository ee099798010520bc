"""Published test vectors of quantization, and the implementations they are put to."""

from qstudy.methods.conformance.vectors import (
    RESULTS,
    VECTORS,
    Implementation,
    NotOffered,
    Outcome,
    Vector,
    check,
    load,
    named,
)

__all__ = [
    "RESULTS",
    "VECTORS",
    "Implementation",
    "NotOffered",
    "Outcome",
    "Vector",
    "check",
    "load",
    "named",
]
