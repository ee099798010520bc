"""Why an integer network gives another code than its simulation: the causes, by name.

Both compute the same codes from the same scales; what differs is how each gets to the
real value before it is rounded. How far from a tie the simulated value then was, in
steps from 0 to 0.5, says of what size the cause is:

| cause | distance from a tie |
|---|---|
| FLOAT_ORDER: float32 operations in another order, in sums and after them | 1e-4 |
| ROUNDED_BIAS: a bias made an int32 (QNNPACK, integers alone) | s_x s_w / (2 s_y) |
| MULTIPLIER: a multiplier of few bits (QNNPACK's addition) | 1e-4 |
| TIE: rounded the other way: zero point first, or the mean of codes | 0 |
| CLIPPED: a weight of code -128 in a channel that is negated (bnfold's "none") | any |
| SATURATION: sums of 16 bits (processors without VNNI), or unknown | any |

CARRIED stands for a kernel that does what its simulation does with what it is given.
Imports no torch, so that tables can name causes.
"""

from __future__ import annotations

FLOAT_ORDER = "order of float32 operations"
ROUNDED_BIAS = "bias rounded to int32"
MULTIPLIER = "multiplier of few bits"
TIE = "tie rounded the other way"
CLIPPED = "weight of the lowest code, negated"
SATURATION = "16-bit sums, or unknown"
CARRIED = "carried on"
CAUSES = (
    FLOAT_ORDER,
    ROUNDED_BIAS,
    MULTIPLIER,
    TIE,
    CLIPPED,
    SATURATION,
    CARRIED,
)
COMPUTED = ("layer", "average", "other")
# Further from a tie than this, in steps, float32 operations do not reach.
NEAR = 1e-4


def cause(
    computed: str, *, from_tie: float | None, clipped: int, rounds_bias: bool
) -> str:
    """One of CAUSES, for a kernel some of whose codes differ.

    `computed` is one of COMPUTED: "other" is an addition, the input, or a second
    rounding. `from_tie` is the largest distance of a value that differed although the
    kernel was given the simulated codes, None where none did; `clipped` counts weights
    whose code has no counterpart. `rounds_bias`: the implementation makes integers of
    biases and multipliers. Raises ValueError for another `computed`.
    """
    if computed not in COMPUTED:
        raise ValueError(f"computed {computed!r} is not one of {COMPUTED}")
    if from_tie is None:
        return CARRIED
    if computed == "layer":
        if rounds_bias:
            return ROUNDED_BIAS
        if from_tie >= NEAR:
            return CLIPPED if clipped else SATURATION
    elif computed == "average" or from_tie == 0:
        return TIE
    elif from_tie >= (NEAR / 10 if rounds_bias else NEAR):
        # A float32 of 255 steps is itself no closer to its neighbour than 1.5e-5.
        return MULTIPLIER if rounds_bias else SATURATION
    return FLOAT_ORDER
