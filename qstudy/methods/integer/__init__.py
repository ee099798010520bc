"""A quantized network computed in integers alone, by the rules of an engine."""

from qstudy.methods.integer.network import (
    input_codes,
    logits,
    predict_codes,
    read_integers,
)

__all__ = ["input_codes", "logits", "predict_codes", "read_integers"]
