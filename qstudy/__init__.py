"""A reproducible study of neural-network quantization with PyTorch on a CPU.

Chapters use `chapter`; everything else is reached through its room (qstudy.numerics,
qstudy.methods, qstudy.measure, ...). Importing this package imports no torch.
"""

from qstudy.study.chapter import Chapter, chapter

__all__ = ["Chapter", "chapter"]
__version__ = "0.1.0"
