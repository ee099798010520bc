"""Every way from a float network to an answer on this processor, in one table.

Each route is a function of the same signature: a Source (network, example, calibration
batches, a folder) becomes a Built (what is called, its size, and the kernels that ran).
So any of them can be timed beside any other, and for each that is called int8 the
kernels are the proof.
"""

from qstudy.methods.routes.kernels import KINDS, Kernels, Spent
from qstudy.methods.routes.route import Built, Route, Source
from qstudy.methods.routes.table import ENGINES, ROUTES, build

__all__ = [
    "ENGINES",
    "KINDS",
    "ROUTES",
    "Built",
    "Kernels",
    "Route",
    "Source",
    "Spent",
    "build",
]
