"""Train the fp32 networks that every later chapter starts from.

Three tasks. `train`: the published networks, on all 50,000 training images. `recipe`:
what each ingredient of a recipe brings, one at a time, to a ResNet-8 trained on 45,000
images and scored on the 5,000 held out; of these, the dev networks are kept. `cost`:
what a training step takes in each precision and layout.
"""

from qstudy.experiments.baselines.figures import figures
from qstudy.experiments.baselines.grid import (
    NAME,
    PARAMETERS,
    VERSION,
    dev,
    grid,
    published,
    smoke,
)
from qstudy.experiments.baselines.numbers import numbers
from qstudy.experiments.baselines.recipe import SEEDS
from qstudy.experiments.baselines.tables import tables
from qstudy.experiments.baselines.tasks import run
from qstudy.experiments.baselines.trained import TRAINED

# dev, published and smoke name the networks that the other chapters start from.
__all__ = [
    "NAME",
    "PARAMETERS",
    "SEEDS",
    "TRAINED",
    "VERSION",
    "dev",
    "figures",
    "grid",
    "numbers",
    "published",
    "run",
    "smoke",
    "tables",
]
