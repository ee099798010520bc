"""The rules of the ledger: each function makes one, from evidence to a finding."""

from qstudy.claims.ledger import Rule
from qstudy.claims.rules.accuracy import (
    between,
    folded_per_tensor,
    integer_drop,
    perplexity_rise,
    static_drop,
    static_drop_over_seeds,
    text_drops,
    text_gain,
)
from qstudy.claims.rules.common import STATIC, both
from qstudy.claims.rules.cost import (
    dynamic_size,
    falls_with_batch,
    file_ratio,
    speed,
    static_size,
)
from qstudy.claims.rules.exact import (
    asymmetric,
    code_of,
    data_read,
    float_activations,
    ranges_of_the_call,
    same_code,
    same_logits,
)
from qstudy.claims.rules.learned import best_at_a_size, step_errs_more
from qstudy.claims.rules.sweeps import (
    images_enough,
    smaller_loses_more,
    sweep_drop,
    sweep_gain,
    width,
)
from qstudy.claims.rules.training import (
    ablation,
    adds_little,
    as_simulated,
    qat_drop,
    qat_gain,
    trained,
)

__all__ = [
    "STATIC",
    "Rule",
    "ablation",
    "adds_little",
    "as_simulated",
    "asymmetric",
    "best_at_a_size",
    "between",
    "both",
    "code_of",
    "data_read",
    "dynamic_size",
    "falls_with_batch",
    "file_ratio",
    "float_activations",
    "folded_per_tensor",
    "images_enough",
    "integer_drop",
    "perplexity_rise",
    "qat_drop",
    "qat_gain",
    "ranges_of_the_call",
    "same_code",
    "same_logits",
    "smaller_loses_more",
    "speed",
    "static_drop",
    "static_drop_over_seeds",
    "static_size",
    "step_errs_more",
    "sweep_drop",
    "sweep_gain",
    "text_drops",
    "text_gain",
    "trained",
    "width",
]
