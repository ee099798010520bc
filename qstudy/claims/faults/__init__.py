"""Faults to plant in evidence: each takes evidence and gives what a mistake would have.

Planted where the mistake shows: in the rows of a table, in a record's answers image by
image, in what a record notes of how it was made. `supposed` is the one that is no
fault: rows as they would be if the claim were true. Those in `sweeps` are taken from
there.
"""

from qstudy.claims.faults.records import (
    SEED,
    computed,
    faultless,
    guessing,
    on_record,
    one_seed_breaks,
    reads_nothing,
    reads_training_data,
    right_where,
    rows_answered,
    same_answers,
    shuffled_labels,
    spoiled,
    unpaired,
    with_arrays,
    without_warmup,
)
from qstudy.claims.faults.rows import (
    after,
    cell,
    drop_of,
    eager_as_best,
    embedding_left_out,
    fp32_file_as_int8,
    one_process,
    other_split,
    ratio_of,
    rounds_down,
    scale_twice,
    supposed,
    swapped,
)
from qstudy.claims.faults.training import (
    at_chance,
    nothing_lost,
    qat_mends,
    same_condition,
    static_as_qat,
)

__all__ = [
    "SEED",
    "after",
    "at_chance",
    "cell",
    "computed",
    "drop_of",
    "eager_as_best",
    "embedding_left_out",
    "faultless",
    "fp32_file_as_int8",
    "guessing",
    "nothing_lost",
    "on_record",
    "one_process",
    "one_seed_breaks",
    "other_split",
    "qat_mends",
    "ratio_of",
    "reads_nothing",
    "reads_training_data",
    "right_where",
    "rounds_down",
    "rows_answered",
    "same_answers",
    "same_condition",
    "scale_twice",
    "shuffled_labels",
    "spoiled",
    "static_as_qat",
    "supposed",
    "swapped",
    "unpaired",
    "with_arrays",
    "without_warmup",
]
