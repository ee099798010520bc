"""Other people's integer kernels: how each is asked, and the rules that it follows."""

from qstudy.methods.engines.kernels import ONNX_OPSET, available, run

__all__ = ["ONNX_OPSET", "available", "run"]
