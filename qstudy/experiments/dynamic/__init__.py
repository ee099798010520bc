"""Dynamic quantization of an LSTM, a transformer encoder and an MLP, on real text.

Tasks. `train`: the LSTM language model, the encoder's linear head, the MLP. `ngram`:
the Kneser-Ney yardstick. `quality`: one network in one form on the test texts, and its
size by part. `ranges`: what dynamic and static clipping see, layer by layer. `kernels`:
the study's own dynamic linear beside the engines'. `latency`: forms in interleaved
rounds.
"""

from qstudy.experiments.dynamic.figures import figures
from qstudy.experiments.dynamic.grid import NAME, PARAMETERS, VERSION, grid
from qstudy.experiments.dynamic.numbers import numbers
from qstudy.experiments.dynamic.tables import tables
from qstudy.experiments.dynamic.tasks import run
from qstudy.experiments.dynamic.trained import TRAINED

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
