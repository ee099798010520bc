"""Dynamic quantization: weights rounded once, activations in every call."""

from qstudy.methods.dynamic.quantize import (
    DTYPES,
    EIGHT_BIT_ENGINES,
    GRANULARITIES,
    DynamicConfig,
    Part,
    UnderEngine,
    coverage,
    covered_kinds,
    half_weights,
    holds_codes,
    import_torchao,
    quantize_dynamic,
    quantize_torchao,
)

__all__ = [
    "DTYPES",
    "EIGHT_BIT_ENGINES",
    "GRANULARITIES",
    "DynamicConfig",
    "Part",
    "UnderEngine",
    "coverage",
    "covered_kinds",
    "half_weights",
    "holds_codes",
    "import_torchao",
    "quantize_dynamic",
    "quantize_torchao",
]
