"""Speed: why int8 is faster, where it is not, and by which route.

Tasks. `route` and `zoo`: one network along every route, timed, with the kernels that
ran. `roofline`: what the processor can do at most, and what each layer asks of it.
`crossover`: one layer in fp32 and in int8 over a grid of shapes.
"""

from qstudy.experiments.speed.figures import figures
from qstudy.experiments.speed.grid import NAME, PARAMETERS, TRAINED, VERSION, grid
from qstudy.experiments.speed.numbers import numbers
from qstudy.experiments.speed.tables import tables
from qstudy.experiments.speed.tasks import run

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
