"""Quantization-aware training: does it lose less than calibration, and at what price?

Tasks. `train`: one network fine-tuned with rounding, or without it as the control.
`ptq`: one network calibrated, in the same simulated form. `fp32`: one as it was.
`reference`: PyTorch's own training with rounding. `gap`: a trained network against its
integer forms. `cost`: a training step timed. `graph`: the forms traced. All trials that
choose the recipe, and the ablations, start from a dev network and are scored on images
held out.
"""

from qstudy.experiments.qat.figures import figures
from qstudy.experiments.qat.grid import NAME, PARAMETERS, VERSION, grid
from qstudy.experiments.qat.numbers import numbers
from qstudy.experiments.qat.tables import tables
from qstudy.experiments.qat.tasks import run
from qstudy.experiments.qat.trained import TRAINED

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
