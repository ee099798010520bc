"""Fusion: is the fused network the same, how much faster, and what of its weights?

Four tasks. `agreement`: unfused against our folding and PyTorch's, in float64 and fp32,
with modules and operations counted. `latency`: eager fp32, unfused and fused in turns.
`ranges`: channel ranges and int8 rounding errors of every convolution before and after
folding. `rounding`: what those errors cost in accuracy, weights alone rounded.
"""

from qstudy.experiments.fusion.figures import figures
from qstudy.experiments.fusion.grid import NAME, PARAMETERS, TRAINED, VERSION, grid
from qstudy.experiments.fusion.numbers import numbers
from qstudy.experiments.fusion.tables import tables
from qstudy.experiments.fusion.tasks import run

__all__ = [
    "NAME",
    "PARAMETERS",
    "TRAINED",
    "VERSION",
    "figures",
    "grid",
    "numbers",
    "run",
    "tables",
]
