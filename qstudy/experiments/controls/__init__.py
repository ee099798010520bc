"""Faulty quantizers, computed: what the ledger's checks must reject.

Task. `faulty`: one network simulated in int8 as qstudy.methods.simulate does it, with a
fault in its quantizers, scored on the test images. No chapter of its own: the ledger of
claims plants these answers under the name of the sound ones.
"""

from qstudy.experiments.controls.figures import figures
from qstudy.experiments.controls.grid import NAME, PARAMETERS, TRAINED, VERSION, grid
from qstudy.experiments.controls.numbers import numbers
from qstudy.experiments.controls.tables import tables
from qstudy.experiments.controls.tasks import run

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
