"""Static (post-training) quantization of ResNet-20: accuracy, size, latency.

Two tasks. `evaluate`: quantize one network in one way with one draw of calibration
images and predict the whole test set. `latency`: time fp32, bf16 and int8 candidates of
the same network in interleaved rounds. fp32 itself is one of the methods evaluated, so
that every drop is a paired comparison on the same images.
"""

from qstudy.experiments.static.figures import figures
from qstudy.experiments.static.grid import NAME, PARAMETERS, TRAINED, VERSION, grid
from qstudy.experiments.static.numbers import numbers
from qstudy.experiments.static.tables import tables
from qstudy.experiments.static.tasks import run

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
