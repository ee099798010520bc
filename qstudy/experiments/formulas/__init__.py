"""The formulas of quantization, held against the kernels that other people wrote.

Tasks. `operators`: single quantized operators by our integer arithmetic and by one
engine, compared element by element. `executor`: a quantized ResNet-20 by our arithmetic
in float32 and in fixed point, and by an engine. `overflow`: two products whose sum
exceeds 16 bits. `errors`: what each bit width, range and granularity loses.
`calibrator_cost`: nanoseconds a value. `conformance`: published test vectors.
`conventions`: one range under every public convention.
"""

from qstudy.experiments.formulas.figures import figures
from qstudy.experiments.formulas.grid import NAME, PARAMETERS, TRAINED, VERSION, grid
from qstudy.experiments.formulas.numbers import numbers
from qstudy.experiments.formulas.tables import tables
from qstudy.experiments.formulas.tasks import run

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
