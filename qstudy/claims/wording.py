"""Words that many claims share: whose they are, by which tolerance, why not.

`deck` and `untestable` make claims of the deck.
"""

from __future__ import annotations

from typing import Any

from qstudy.claims.ledger import NOT_TESTABLE, Claim
from qstudy.measure.statistics import UNDECIDED

STATIC, DYNAMIC = "static_latency.csv", "dynamic_latency.csv"
INT8 = "int8:x86"
TEXT = {"lstm": "an LSTM", "minilm": "a transformer encoder", "mlp": "an MLP"}
NAMES = {"eager_fp32": "eager fp32", "best_fp32": "the best fp32"}
NAMES |= {"best_bf16": "the best bf16"}

SPEED_RULE = (
    "holds if the interval of the ratio lies above 2 (above 4 is said), fails if below"
)
FASTER_RULE = "holds if the interval of the ratio lies above 1, fails if below"
DROP_RULE = "holds if the upper end of the drop is at most 1.0 point, fails if above"
GAIN_RULE = "holds if the interval of the gain lies above 0, fails if below"
PROMISES = "size at least 3.5, speed above 2, drop at most 1.0, each by its own rule"
ACROSS = {UNDECIDED: "The interval reaches across the limit."}
BF16 = (
    "This processor multiplies bfloat16 in hardware. Such a network halves the traffic "
    "as well and needs no calibration, so the comparison leaves little to int8."
)


def deck(place: str, **fields: Any) -> Claim:
    """A claim of the deck, with the slide that it stands on."""
    return Claim(source="hong2022", place=place, **fields)


def untestable(place: str, why: str, **fields: Any) -> Claim:
    """A claim that the study cannot decide, and why."""
    return deck(
        place,
        rule=None,
        control=None,
        tolerance="none",
        explained={NOT_TESTABLE: why},
        **fields,
    )
