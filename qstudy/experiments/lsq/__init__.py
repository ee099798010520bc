"""Learned step size quantization: 2, 3, 4 and 8 bits, as published and varied.

Tasks. `train`: one network with learned steps. `evaluate`: a network that is not
trained here, or one that was, read back from its file. `ratio`: how far updates move
steps and weights. `integers`: the 8-bit network on an engine's kernels. `cost`: a
training step timed. Everything that is chosen starts from a dev network and is scored
on images held out.
"""

from qstudy.experiments.lsq.figures import figures
from qstudy.experiments.lsq.grid import NAME, PARAMETERS, VERSION, grid
from qstudy.experiments.lsq.numbers import numbers
from qstudy.experiments.lsq.tables import tables
from qstudy.experiments.lsq.tasks import run
from qstudy.experiments.lsq.trained import TRAINED

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
