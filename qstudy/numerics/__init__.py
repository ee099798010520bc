"""Pure functions of quantization; imports nothing else of qstudy."""
